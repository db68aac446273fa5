"""Recipes: bundled or custom YAML files, with overrides from the command line."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..errors import needed_by
from .config import PretrainingConfig

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


#: Largest number of values in a recipe; the longest bundled recipe has about a hundred.
_MAX_VALUES = 10_000
#: Settings whose keys are free names, not fields.
_FREE_KEYS = ("tasks", "readouts", "augmentation", "weights", "categorical")


def bundled_recipes() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    folder = resources.files(__package__) / "recipes"
    names = (path.name for path in folder.iterdir() if path.name.endswith(".yaml"))
    # A leading underscore marks a base that other recipes extend.
    return sorted(name.removesuffix(".yaml") for name in names if not name.startswith("_"))


def find_recipe(reference: str | Path) -> Path:
    """Return the path of a recipe, given the name of a bundled recipe or a path.

    Raises FileNotFoundError if `reference` is neither.
    """
    bundled = Path(str(resources.files(__package__) / "recipes" / f"{reference}.yaml"))
    for path in (bundled, Path(reference)):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no recipe {str(reference)!r}; use the path of a YAML file or a bundled recipe: "
        f"{', '.join(bundled_recipes())}."
    )


def recipe_parser(**options: Any) -> ArgumentParser:
    """Return the command-line parser of a run: ``--config``, ``--data.batch_size`` and so on."""
    with needed_by("a recipe", "nirs4all-vit[pretraining]"):
        from jsonargparse import ArgumentParser
    parser = ArgumentParser(description="Pretrain an encoder without labels.", allow_abbrev=False, **options)
    parser.add_argument("--config", action="config", help="recipe: name of a bundled recipe, or path of a YAML file")
    parser.add_class_arguments(PretrainingConfig, as_group=False)
    return parser


def load_recipe(reference: str | Path, overrides: Sequence[str] = ()) -> PretrainingConfig:
    """Read a recipe.

    Parameters
    ----------
    reference : str or path
        Name of a bundled recipe, or a YAML file.
    overrides : sequence of str
        Arguments as on the command line, for example ``["--optim.steps", "100"]``.

    Returns
    -------
    PretrainingConfig

    Raises
    ------
    FileNotFoundError
        No such recipe.
    ValueError
        Unknown key or invalid value; the message names it.
    """
    return parse_arguments(["--config", str(reference), *overrides], exit_on_error=False)


def parse_arguments(arguments: Sequence[str], **options: Any) -> PretrainingConfig:
    """Parse command-line arguments; ``--config`` accepts names of bundled recipes and paths."""
    parser = recipe_parser(**options)
    from jsonargparse import ArgumentError

    words = ["--print_config" if argument == "--print-config" else argument for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        # Accept "--config=smoke" as well as "--config smoke".
        words = [part for a in words for part in (a.split("=", 1) if a.startswith("--config=") else [a])]
        for i, argument in enumerate(words[:-1]):
            if argument == "--config":
                whole = Path(folder) / f"{i}.yaml"
                whole.write_text(yaml.safe_dump(read_recipe(words[i + 1])), "utf-8")
                words[i + 1] = str(whole)
        try:
            settings = parser.instantiate(parser.parse_args(words))
            groups = {name: settings[name] for name in ("data", "encoder", "objectives", "optim", "run")}
            return PretrainingConfig(**groups)
        except ArgumentError as error:  # with exit_on_error=False
            raise ValueError(str(error)) from error
        except ValueError as error:
            if options.get("exit_on_error") is False:
                raise
            parser.error(str(error))
            raise


def read_recipe(reference: str | Path, extended: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the settings of a recipe, merged into those of the recipe that it ``extends``.

    Groups are merged key by key. Settings with free names (tasks, read-outs, augmentation, weights,
    categorical) are replaced as a whole, as on the command line.

    Raises
    ------
    FileNotFoundError
        No such recipe.
    ValueError
        Not YAML, not a mapping, too many values, or a recipe that extends itself.
    """
    path = find_recipe(reference).resolve()
    if path in extended:
        raise ValueError(f"{path.name} extends itself.")
    try:
        settings = yaml.safe_load(path.read_text("utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name} is not YAML: {error}") from error
    if _n_values(settings, _MAX_VALUES) > _MAX_VALUES:
        raise ValueError(f"{path.name} has more than {_MAX_VALUES:,} values or refers to itself; it is not a recipe.")
    if not isinstance(settings, dict):
        raise ValueError(f"{path.name}: a recipe must be a mapping of groups to settings.")
    base = settings.pop("extends", None)
    # Ignore groups and objectives without settings ("optim:", "masked_modeling:").
    settings = {name: group for name, group in settings.items() if group is not None}
    if isinstance(objectives := settings.get("objectives"), dict):
        settings["objectives"] = {name: value for name, value in objectives.items() if value is not None}
    return settings if base is None else _merged(read_recipe(base, (*extended, path)), settings)


def _n_values(value: Any, most: int) -> int:
    """Count the nested values, with repeated YAML aliases, and stop just above `most`.

    A few lines with aliases can expand to billions of values.
    """
    count, pending = 0, [value]
    while pending and count <= most:
        item = pending.pop()
        count += 1
        pending += item.values() if isinstance(item, dict) else item if isinstance(item, (list, tuple, set)) else ()
    return count


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge `over` into `base`, group by group."""
    out = dict(base)
    for key, value in over.items():
        below = out.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and key not in _FREE_KEYS:
            value = _merged(below, value)
        out[key] = value
    return out
