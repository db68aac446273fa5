"""The public interface as text: ``python -m tests.public_api`` prints what has changed, ``--update`` writes it down."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).with_name("public_api.json")

#: Modules whose names are the users'.
MODULES = (
    "nirs4all_vit",
    "nirs4all_vit.diagnostics",
    "nirs4all_vit.embedding",
    "nirs4all_vit.encoder",
    "nirs4all_vit.finetuning",
    "nirs4all_vit.heads",
    "nirs4all_vit.nirs4all_host",
    "nirs4all_vit.pretraining",
)


def interface() -> dict[str, dict[str, Any]]:
    """Return names, signatures and, of classes, what our code adds to their bases."""
    found: dict[str, dict[str, Any]] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        found[module_name] = {name: _described(getattr(module, name)) for name in sorted(module.__all__)}
    return found


def _described(thing: Any) -> Any:
    if inspect.isclass(thing):
        members = {
            name: _described(member)
            for name, member in inspect.getmembers(thing)
            # scikit-learn makes the latter for metadata routing, in its own way with each release.
            if not (name.startswith("_") or name.endswith("_request")) and _is_ours(thing, name)
        }
        bases = [base.__name__ for base in thing.__bases__]
        return {"signature": _signature(thing), "bases": bases, "members": members}
    if callable(thing):
        return _signature(thing)
    return "property" if isinstance(thing, property) else "value"


def _is_ours(owner: type, name: str) -> bool:
    where = next((base for base in owner.__mro__ if name in vars(base)), owner)
    return where.__module__.startswith("nirs4all_vit")


def _signature(thing: Any) -> str:
    """Names, kinds and defaults; annotations may become stricter without breaking anybody."""
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return "(...)"
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def changes() -> list[str]:
    """Return a line for each name that was added, removed or altered."""
    known, now = _flat(json.loads(COMMITTED.read_text("utf-8"))), _flat(interface())
    return [
        *(f"removed  {name}{known[name]}" for name in sorted(known.keys() - now.keys())),
        *(f"added    {name}{now[name]}" for name in sorted(now.keys() - known.keys())),
        *(
            f"changed  {name}: {known[name]} -> {now[name]}"
            for name in sorted(known.keys() & now.keys())
            if known[name] != now[name]
        ),
    ]


def _flat(tree: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(tree, dict):
        return {prefix: json.dumps(tree) if not isinstance(tree, str) else tree}
    return {k: v for name, part in tree.items() for k, v in _flat(part, f"{prefix}.{name}".lstrip(".")).items()}


if __name__ == "__main__":
    if "--update" in sys.argv:
        COMMITTED.write_text(json.dumps(interface(), indent=1, sort_keys=True) + "\n", "utf-8")
    print("\n".join(changes()) or "nothing has changed")
