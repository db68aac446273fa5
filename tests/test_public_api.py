"""No public name or signature changes unnoticed."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re

import numpydoc.docscrape
import pytest

from tests.conftest import ROOT
from tests.public_api import COMMITTED, MODULES, changes, interface


def test_the_interface_is_the_committed_one() -> None:
    found = changes()
    message = "\n".join(found) + "\nIf that is on purpose: python -m tests.public_api --update, and CHANGELOG.md"
    assert not found, message


def test_a_change_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import nirs4all_vit.heads as heads

    monkeypatch.setattr(heads, "make_head", lambda name, task="regression": (name, task))
    monkeypatch.setattr(heads, "__all__", [name for name in heads.__all__ if name != "PLSDA"])
    found = "\n".join(changes())
    assert "changed  nirs4all_vit.heads.make_head" in found
    assert "removed  nirs4all_vit.heads.PLSDA" in found


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_documented(module: str) -> None:
    """With each parameter, in numpydoc, and on the page of the reference."""
    reference = (ROOT / "docs/api.md").read_text("utf-8")
    for name, thing in ((n, getattr(__import__(module, fromlist=[n]), n)) for n in interface()[module]):
        if not callable(thing):
            continue
        documented = numpydoc.docscrape.NumpyDocString(inspect.getdoc(thing) or "")
        assert documented["Summary"], f"{module}.{name}"
        if issubclass(thing, Exception) if inspect.isclass(thing) else False:
            continue
        told = {
            part
            for section in ("Parameters", "Attributes")
            for entry in documented[section]
            for part in re.split(r",\s*", entry.name.replace("*", ""))
        }
        parameters = inspect.signature(thing).parameters
        wanted = {p for p in parameters if not p.startswith("_")} - {"self", "args", "kwargs"}
        if dataclasses.is_dataclass(thing):  # groups of settings are documented where they stand
            wanted -= {f.name for f in dataclasses.fields(thing) if dataclasses.is_dataclass(f.default_factory)}
        if len(wanted) > 1:
            assert wanted <= told, f"{module}.{name}: {', '.join(sorted(wanted - told))}"
        assert re.search(rf"\b{name}$", reference, flags=re.MULTILINE), f"docs/api.md lacks {module}.{name}"


def test_the_list_is_of_this_version() -> None:
    assert set(json.loads(COMMITTED.read_text("utf-8"))) == set(MODULES)
