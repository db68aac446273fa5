"""Recipes: YAML files, bundled or of one's own, with overrides from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import PretrainingConfig

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


def bundled_recipes() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def find_recipe(reference: str | Path) -> Path:
    """Return the file of a bundled recipe's name or of a path.

    Raises
    ------
    FileNotFoundError
        Neither of both.
    """
    bundled = Path(str(resources.files(__package__) / "recipes" / f"{reference}.yaml"))
    for path in (bundled, Path(reference)):
        if path.is_file():
            return path
    raise FileNotFoundError(f"no recipe {str(reference)!r}; bundled: {', '.join(bundled_recipes())}; or give a YAML file.")


def recipe_parser(**options: Any) -> ArgumentParser:
    """Return the command-line parser of a run: ``--config``, ``--data.batch_size`` and so on."""
    try:
        from jsonargparse import ArgumentParser
    except ImportError as error:
        raise ImportError("recipes need jsonargparse; pip install 'nirs4all-vit[pretraining]'.") from error
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
    return parse_arguments(["--config", str(find_recipe(reference)), *overrides], exit_on_error=False)


def parse_arguments(arguments: Sequence[str], **options: Any) -> PretrainingConfig:
    """Turn command-line arguments into a configuration."""
    from jsonargparse import ArgumentError

    parser = recipe_parser(**options)
    try:
        settings = parser.instantiate_classes(parser.parse_args(list(arguments)))
        return PretrainingConfig(**{name: settings[name] for name in ("data", "encoder", "objectives", "optim", "run")})
    except ArgumentError as error:  # with exit_on_error=False
        raise ValueError(str(error)) from error
    except ValueError as error:
        if options.get("exit_on_error") is False:
            raise
        parser.error(str(error))
        raise
