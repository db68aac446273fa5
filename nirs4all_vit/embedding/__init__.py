"""Embedding with a frozen encoder: inference, cache, column weighting, GLSW, files of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__, {"FileResult": "folder", "embed_file": "file", "embed_folder": "folder"}
)

if TYPE_CHECKING:
    from .file import embed_file as embed_file
    from .folder import FileResult as FileResult
    from .folder import embed_folder as embed_folder
