"""What a run is made of, checked before anything is computed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .config import PretrainingConfig
from .data.dataset import SpectralDataset


def chosen_datasets(config: PretrainingConfig, datasets: Sequence[SpectralDataset]) -> list[SpectralDataset]:
    """Return the datasets of a bank that a run may draw from.

    Raises
    ------
    ValueError
        A name that is not in the bank, or real spectra asked for and none there.
    """
    families, names = {dataset.family for dataset in datasets}, {dataset.name for dataset in datasets}
    _all_known("data.without_families", config.data.without_families, families, "family")
    contrastive = config.objectives.contrastive
    if contrastive.weight > 0:
        _all_known("objectives.contrastive.pairs", [n for pair in contrastive.pairs for n in pair], names, "dataset")
    selected = [dataset for dataset in datasets if dataset.family not in config.data.without_families]
    if config.data.p_synth == 1:
        if selected:
            warnings.warn("data.p_synth=1: synthetic spectra only, the bank is not used.", stacklevel=2)
        return []
    if not selected:
        raise ValueError(
            f"data.p_synth={config.data.p_synth:g} asks for real spectra and there are none: name a folder with "
            "data.x_bank, leave fewer families out, or set data.p_synth=1 for synthetic spectra only."
        )
    return selected


def check_same_run(
    out: Path, state: dict[str, Any], recipe: dict[str, Any], origin: dict[str, Any], world_size: int
) -> None:
    """Raise ValueError unless a saved state is of this recipe, bank and number of processes."""
    before, recipe = json.loads(state["recipe"]), json.loads(json.dumps(recipe))
    differing = [
        f"{name} ({_get(before, name)!r}, now {_get(recipe, name)!r})"
        for name in sorted({*_keys(before), *_keys(recipe)})
        if _get(before, name) != _get(recipe, name)
    ]
    if differing:
        raise ValueError(
            f"the run in {out} was begun with another recipe: {'; '.join(differing)}. Give the same, or another run.out."
        )
    if state["origin"]["bank_hash"] != origin["bank_hash"]:
        raise ValueError(f"the run in {out} was begun with other spectra; give the same bank, or another run.out.")
    if len(state["penalties"]) != world_size:
        raise ValueError(
            f"the run in {out} was begun with {len(state['penalties'])} processes, not {world_size}; start as many."
        )


def _all_known(field: str, names: Sequence[str], names_there: set[str], what: str) -> None:
    unknown = sorted(set(names) - names_there)
    if unknown:
        raise ValueError(f"{field}: no such {what} in the bank: {', '.join(unknown)}.")


def _keys(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _get(settings: Any, name: str) -> Any:
    for key in name.split("."):
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings
