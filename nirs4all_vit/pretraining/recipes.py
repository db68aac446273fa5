"""Recipes: YAML files, bundled or of one's own, with overrides from the command line."""

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


#: Values in a recipe, at most; the longest bundled one has a hundred.
_MOST_VALUES = 10_000
#: Settings whose keys are names, not fields.
_FREE = ("tasks", "readouts", "augmentation", "weights", "categorical")


def bundled_recipes() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    folder = resources.files(__package__) / "recipes"
    names = (path.name for path in folder.iterdir() if path.name.endswith(".yaml"))
    # One that begins with an underscore is what others extend, and no run of its own.
    return sorted(name.removesuffix(".yaml") for name in names if not name.startswith("_"))


def find_recipe(reference: str | Path) -> Path:
    """Return the file of a bundled recipe's name or of a path; a FileNotFoundError says that it is neither."""
    bundled = Path(str(resources.files(__package__) / "recipes" / f"{reference}.yaml"))
    for path in (bundled, Path(reference)):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no recipe {str(reference)!r}; bundled: {', '.join(bundled_recipes())}; or give a YAML file."
    )


def recipe_parser(**options: Any) -> ArgumentParser:
    """Return the command-line parser of a run: ``--config``, ``--data.batch_size`` and so on."""
    with needed_by("a recipe", "nirs4all-vit[pretraining]"):
        from jsonargparse import ArgumentParser
    parser = ArgumentParser(description="Pretrain an encoder without labels.", allow_abbrev=False, **options)
    parser.add_argument("--config", action="config", help="recipe: a bundled name's file or one of your own (YAML)")
    parser.add_class_arguments(PretrainingConfig, as_group=False)
    return parser


def load_recipe(reference: str | Path, overrides: Sequence[str] = ()) -> PretrainingConfig:
    """Read a recipe.

    Parameters
    ----------
    reference : str or path
        Name of a bundled recipe, or a YAML file.
    overrides : sequence of str
        As on the command line: ``["--optim.steps", "100"]``.

    Returns
    -------
    PretrainingConfig

    Raises
    ------
    FileNotFoundError
        No such recipe.
    ValueError
        An unknown key or an impossible value; the message names it.
    """
    return parse_arguments(["--config", str(reference), *overrides], exit_on_error=False)


def parse_arguments(arguments: Sequence[str], **options: Any) -> PretrainingConfig:
    """Turn command-line arguments into a configuration; ``--config`` takes a bundled name, too."""
    parser = recipe_parser(**options)
    from jsonargparse import ArgumentError

    words = ["--print_config" if argument == "--print-config" else argument for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        # "--config=smoke" as well as "--config smoke".
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
    """Return the settings of a recipe, over those of the one that it ``extends``.

    Groups are laid over each other; what is named freely (tasks, read-outs, augmentation, weights) replaces
    what was there, as it does on the command line.

    Raises
    ------
    FileNotFoundError
        No such recipe.
    ValueError
        Not YAML, not a mapping, or a circle of recipes.
    """
    path = find_recipe(reference).resolve()
    if path in extended:
        raise ValueError(f"{path.name} extends itself.")
    try:
        settings = yaml.safe_load(path.read_text("utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name} is not YAML: {error}") from error
    if _n_values(settings, _MOST_VALUES) > _MOST_VALUES:
        raise ValueError(f"{path.name} holds more than {_MOST_VALUES:,} values, or refers to itself; it is no recipe.")
    if not isinstance(settings, dict):
        raise ValueError(f"{path.name}: a recipe is a mapping of groups to settings.")
    base = settings.pop("extends", None)
    # A group without settings, "optim:", asks for nothing.
    settings = {name: group for name, group in settings.items() if group is not None}
    # Neither does an objective: "masked_modeling:".
    if isinstance(objectives := settings.get("objectives"), dict):
        settings["objectives"] = {name: one for name, one in objectives.items() if one is not None}
    return settings if base is None else _merged(read_recipe(base, (*extended, path)), settings)


def _n_values(value: Any, most: int) -> int:
    """Count what a value holds, aliases as often as they stand there, but hardly beyond `most`: a few lines can stand for billions."""
    count, open_ones = 0, [value]
    while open_ones and count <= most:
        one = open_ones.pop()
        count += 1
        open_ones += one.values() if isinstance(one, dict) else one if isinstance(one, (list, tuple, set)) else ()
    return count


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another, group by group."""
    out = dict(base)
    for key, value in over.items():
        below = out.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and key not in _FREE:
            value = _merged(below, value)
        out[key] = value
    return out
