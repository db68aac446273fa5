"""Lazy imports of public names, so that torch is only loaded when needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, origin: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__all__``, ``__getattr__`` and ``__dir__`` of a package.

    `origin` maps the public names of the package to the submodules that define them.
    """

    def getattr_(name: str) -> Any:
        if name not in origin:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f".{origin[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    public = sorted(origin)
    return public, getattr_, lambda: [*public, *vars(sys.modules[package])]
