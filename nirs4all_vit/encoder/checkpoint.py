"""Checkpoints: one safetensors file with configuration and provenance in its header, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError
from ..files import atomic_path, file_sha256, stamp

if TYPE_CHECKING:
    from torch import Tensor

    from .perceiver import SpectralPerceiver

#: File format that this release writes, and the newest that it reads.
FORMAT_VERSION = 1
_HEADER_KEY = "nirs4all_vit"
_ENCODER_PREFIX = "encoder."
#: Header entry with the hash of the rest of the file.
_CONTENT = "content_sha256"


@dataclass(frozen=True)
class BundledWeights:
    """A weight file that ships with the package.

    Attributes
    ----------
    name : str
        Name for ``SpectralEmbedder(checkpoint=name)``.
    file : str
        File in ``nirs4all_vit/weights/``.
    sha256 : str
        SHA-256 of the file, verified when it is loaded.
    licence : str
        Licence of the weights.
    """

    name: str
    file: str
    sha256: str
    licence: str


DEFAULT_CHECKPOINT = "nirs-base-v2"
BUNDLED = {
    weights.name: weights
    for weights in (
        BundledWeights(
            name="nirs-base-v2",
            file="nirs-base-v2.safetensors",
            sha256="7afff0761c70ba0d34d87edbc61bcc5bd100a70d361145aa400f051f4df5be31",
            licence="BSD-3-Clause",
        ),
    )
}


@dataclass(frozen=True)
class Checkpoint:
    """An encoder with its provenance.

    Attributes
    ----------
    encoder : SpectralPerceiver
        In evaluation mode, on the CPU, gradients off.
    header : dict
        ``name``, ``licence``, ``encoder`` (configuration) and ``provenance`` (recipe, seed, commit,
        bank hash, families seen).
    statistics : dict of str to Tensor
        Statistics of the pretraining bank, used by `SpectralNovelty.bank_scores`.
    path : Path or None
        File that the checkpoint was read from.
    sha256 : str
        SHA-256 of that file; the empty string without a file.
    """

    encoder: SpectralPerceiver
    header: dict[str, Any]
    statistics: dict[str, Tensor] = field(default_factory=dict)
    path: Path | None = None
    sha256: str = ""

    @property
    def name(self) -> str:
        """Name and version, such as ``nirs-base-v2``."""
        return str(self.header.get("name", "unnamed"))


def find_checkpoint(reference: str | os.PathLike[str]) -> Path:
    """Return the path of a checkpoint, given by bundled name or by path.

    Raises
    ------
    CheckpointError
        The reference is neither a bundled name nor a file.
    """
    bundled = BUNDLED.get(str(reference))
    try:
        path = _bundled_path(bundled.file) if bundled else Path(reference)
        exists = path.is_file()
    except (TypeError, OSError):
        exists = False
    if not exists:
        raise CheckpointError(
            f"checkpoint {str(reference)[:200]!r} is neither a file nor bundled; bundled: {', '.join(BUNDLED)}."
        )
    return path


@lru_cache
def _bundled_path(file: str) -> Path:
    return Path(str(resources.files("nirs4all_vit") / "weights" / file)).resolve()


def load_checkpoint(reference: str | os.PathLike[str] = DEFAULT_CHECKPOINT) -> Checkpoint:
    """Load a checkpoint by bundled name or path.

    A file is read once per process; all callers share one frozen encoder.

    Parameters
    ----------
    reference : str or path
        A bundled name (``nirs-base-v2``) or the path of a ``.safetensors`` file.

    Raises
    ------
    CheckpointError
        The file is missing or damaged, is not a nirs4all_vit checkpoint, or has a newer format.
    """
    path = find_checkpoint(reference).resolve()
    checkpoint = _load(path, stamp(path))
    bundled = BUNDLED.get(str(reference))
    if bundled and checkpoint.sha256 != bundled.sha256:
        raise CheckpointError(f"{path} is not the file that was released; install nirs4all_vit again.")
    return checkpoint


@lru_cache(maxsize=4)
def _load(path: Path, _stamp: tuple[int, ...]) -> Checkpoint:
    import torch
    from safetensors import SafetensorError, safe_open

    from .config import EncoderConfig
    from .perceiver import SpectralPerceiver

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = _read_header(path, file.metadata())
            # Copied out of the memory map: overwriting the file in place would kill the process.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
            _require_whole(path, header, tensors)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} is damaged or not a safetensors file ({error}); fetch it again.") from error
    encoder_tensors = {k.removeprefix(_ENCODER_PREFIX): v for k, v in tensors.items() if k.startswith(_ENCODER_PREFIX)}
    try:
        config = EncoderConfig.from_dict(header["encoder"])
        # Built on "meta": no memory is allocated and no random number drawn, whatever the header.
        with torch.device("meta"):
            encoder = SpectralPerceiver(config)
        expected = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
        wrong = [name for name in {*expected, *encoder_tensors} if _shape(encoder_tensors, name) != expected.get(name)]
        if wrong:
            raise ValueError(f"tensors do not fit the configuration: {', '.join(sorted(wrong)[:3])}")
        encoder.load_state_dict({k: v.float() for k, v in encoder_tensors.items()}, assign=True)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} is not a usable checkpoint: {error}.") from error
    if not all(torch.isfinite(tensor).all() for tensor in encoder.state_dict().values()):
        raise CheckpointError(f"{path.name} holds NaN or infinite weights; fetch it again.")
    encoder.eval().requires_grad_(False)
    _require_finite_embedding(path, encoder)
    statistics = {k.removeprefix("statistics."): v for k, v in tensors.items() if k.startswith("statistics.")}
    if not all(torch.isfinite(tensor).all() for tensor in statistics.values()):
        raise CheckpointError(f"{path.name} holds statistics that are NaN or infinite; fetch it again.")
    return Checkpoint(encoder, header, statistics, path, file_sha256(path))


def _require_finite_embedding(path: Path, encoder: SpectralPerceiver) -> None:
    """Refuse finite weights that encode an ordinary spectrum to NaN or infinity."""
    import torch

    from .grid import Grid

    places = torch.linspace(0.0, 1.0, 64, dtype=torch.float64)
    spectra = torch.stack([0.5 + 0.3 * (6.0 * places).sin(), 1.0 + places]).float()
    with torch.inference_mode():
        grid = Grid.from_wavelengths(1000.0 + 1000.0 * places)
        sound = all(torch.isfinite(encoder(spectra, grid, readout=name)).all() for name in encoder.readouts())
    if not sound:
        raise CheckpointError(f"{path.name} encodes a test spectrum to NaN or infinity; use another checkpoint.")


def save_checkpoint(
    path: str | os.PathLike[str],
    encoder: SpectralPerceiver,
    *,
    name: str,
    provenance: Mapping[str, Any],
    statistics: Mapping[str, Tensor] | None = None,
    licence: str = "BSD-3-Clause",
) -> Path:
    """Write an encoder with its provenance; the write is atomic.

    Parameters
    ----------
    path : path
        ``.safetensors`` file to write or replace.
    encoder : SpectralPerceiver
        Encoder whose weights and configuration are written.
    name : str
        Name and version.
    provenance : mapping
        Recipe, seed, commit, bank hash and families seen, as JSON types.
    statistics : mapping of str to Tensor, optional
        Pretraining statistics of the embeddings.
    licence : str
        Licence of the weights.

    Returns
    -------
    Path
    """
    from safetensors.torch import save

    header = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "licence": licence,
        "encoder": encoder.config.to_dict(),
        "provenance": dict(provenance),
    }
    # Cloned: safetensors refuses tensors that share memory.
    tensors = {_ENCODER_PREFIX + k: v.detach().cpu().contiguous().clone() for k, v in encoder.state_dict().items()}
    tensors |= {f"statistics.{k}": v.detach().cpu().contiguous() for k, v in (statistics or {}).items()}
    header[_CONTENT] = _content_sha256(header, tensors)
    content = save(tensors, metadata={_HEADER_KEY: json.dumps(header, sort_keys=True)})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def _read_header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        header = json.loads((metadata or {})[_HEADER_KEY])
        version = int(header["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} is not a nirs4all_vit checkpoint: its header has no {_HEADER_KEY!r} entry with a version."
        ) from error
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path.name} has format {version}, this release reads up to {FORMAT_VERSION}; upgrade nirs4all_vit."
        )
    return header


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the tensors' names, types, shapes and bytes."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _content_sha256(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a checkpoint's header (without this entry) and tensors."""
    text = json.dumps({k: v for k, v in header.items() if k != _CONTENT}, sort_keys=True)
    return hashlib.sha256(f"{text}\n{tensors_sha256(tensors)}".encode()).hexdigest()


def _require_whole(path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a file whose content differs from its hash; early files of format 1 have no hash."""
    if _CONTENT in header and header[_CONTENT] != _content_sha256(header, tensors):
        raise CheckpointError(f"{path.name} is damaged: its content does not match its hash; fetch it again.")


def _shape(tensors: Mapping[str, Tensor], name: str) -> Any:
    return tensors[name].shape if name in tensors else None
