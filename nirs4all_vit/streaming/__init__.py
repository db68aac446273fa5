"""Files of spectra of any size to files of embeddings, in bounded memory; an interrupted run goes on where it was."""

from .file import embed_file
from .folder import FileResult, embed_folder

__all__ = ["FileResult", "embed_file", "embed_folder"]
