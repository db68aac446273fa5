"""Write the files of this folder that are missing.

The files are embeddings of the bundled checkpoints by read-out, a pickle of this release's fitted embedder, and a small
checkpoint in this release's format. Existing files are kept: later releases are compared with them.
"""

from __future__ import annotations

import pickle

import numpy as np
import torch

from nirs4all_vit import SpectralEmbedder, __version__, save_checkpoint
from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver
from nirs4all_vit.encoder.checkpoint import BUNDLED, FORMAT_VERSION
from nirs4all_vit.encoder.readouts import READOUTS
from tests.golden.inputs import FOLDER, embeddings, shared_grid


def main() -> None:
    """Write what is missing."""
    for name in BUNDLED:
        path = FOLDER / f"{name}.npz"
        kept: dict[str, np.ndarray] = {}
        if path.exists():
            with np.load(path, allow_pickle=False) as there:
                kept = dict(there)
        if set(READOUTS) - set(kept):
            np.savez_compressed(path, **{**embeddings(name), **kept})
            print(path)
    path = FOLDER / f"embedder-{__version__}.pkl"
    if not path.exists():
        X, nm = shared_grid()
        path.write_bytes(pickle.dumps(SpectralEmbedder(wavelengths=nm, axis_unit="nm").fit(X)))
        print(path)
    path = FOLDER / f"format-{FORMAT_VERSION}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        small = EncoderConfig(n_latents=4, d_model=16, n_self_layers=1, n_heads=2, n_scales=1, patch_hidden=8)
        save_checkpoint(path, SpectralPerceiver(small), name="small", provenance={"seed": 0})
        print(path)


if __name__ == "__main__":
    main()
