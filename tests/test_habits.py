"""What surrounds the code says the same in every place."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import nirs4all_vit
from tests.conftest import ROOT


def test_pre_commit_has_the_pins_of_make_lint() -> None:
    pinned = set((ROOT / "constraints.txt").read_text("utf-8").splitlines())
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    wanted = [pin for hook in hooks for pin in hook.get("additional_dependencies", [])]
    assert len(wanted) >= 3
    assert set(wanted) <= pinned
    recipe = (ROOT / "Makefile").read_text("utf-8").split("\nlint:")[1].split("\n\n")[0]
    for hook in hooks:
        assert hook["entry"].removeprefix(".venv/bin/") in recipe


def test_ci_and_its_workflow_are_the_readmes_command() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"^(make \w+.*)$", (ROOT / ".ci/run").read_text("utf-8"), flags=re.MULTILINE)
    assert "make test" in commands
    assert all(command in readme for command in commands)
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    assert [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step] == [".ci/run"]


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == nirs4all_vit.__version__
    assert citation["license"] in (ROOT / "pyproject.toml").read_text("utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert changes.startswith("# Changelog")
    assert re.search(r"^## \[(Unreleased|\d+\.\d+\.\d+)\]", changes, flags=re.MULTILINE)


def test_targets_of_make_that_are_named_exist() -> None:
    """In README, CONTRIBUTING and the documentation."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]
    named = {
        name for page in pages for name in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
    }
    assert {"test", "demo", "lint", "docs", "coverage"} <= named
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    assert named <= targets


def test_generated_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    import generated_pages

    for name in ("configuration", "results", "summary"):
        text = (ROOT / f"docs/{name}.md").read_text("utf-8")
        assert text == getattr(generated_pages, name)(), "python docs/_ext/generated_pages.py"


def test_prose_has_lines_of_100_characters_at_most() -> None:
    """In Markdown; tables, code, headings' links and placeholders of figures do not count."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks/research").glob("*.md")]:
        text = re.sub(r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), path.read_text("utf-8"), flags=re.S | re.M)
        text = re.sub(r"<!--.*?-->|`[^`\n]*`|\]\([^)\n]*\)", "", text)
        for number, line in enumerate(text.splitlines(), 1):
            assert len(line) <= 100 or line.lstrip().startswith("|"), f"{path.relative_to(ROOT)}, line {number}"


def test_no_path_of_a_machine_is_committed() -> None:
    found = subprocess.run(
        ["git", "grep", "-nIE", r"(^|[^.\w])/(work|root|home)/", "--", ".", ":!tests/test_habits.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


def test_locals_are_nouns() -> None:
    """A participle such as ``found`` does not say what it holds; `files`, `columns` or `scores` do."""
    participles = {"found", "known", "kept", "made", "said", "told"}
    for path in [*(ROOT / "nirs4all_vit").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        tree = ast.parse(path.read_text("utf-8"))
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        fields = {id(line.target) for node in classes for line in node.body if isinstance(line, ast.AnnAssign)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
                name = node.id
            elif isinstance(node, ast.arg):
                name = node.arg
            else:
                continue
            assert name not in participles, f"{path.relative_to(ROOT)}, line {node.lineno}: {name}"


def test_pages_that_no_browser_opened_are_counted_in_the_end(tmp_path: Path) -> None:
    """`make docs` passes without a browser, and says what that is worth."""
    docs = tmp_path / "docs"
    (docs / "build/html").mkdir(parents=True)
    for name in ("test_site.py", "conftest.py"):
        (docs / name).write_text((ROOT / "docs" / name).read_text("utf-8"))
    for name in ("index", "api"):
        (docs / f"build/html/{name}.html").write_text("<p>page</p>")
    # Neither a browser of the system nor one of playwright's.
    nowhere = os.environ | {"PATH": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "browser",
        str(docs / "test_site.py"),
    ]
    done = subprocess.run(command, cwd=tmp_path, env=nowhere, capture_output=True, text=True, check=True)
    end = done.stdout[done.stdout.index("NOT CHECKED") :]
    assert "2 pages were not opened" in end
    assert "playwright install" in end


def _texts(path: Path) -> list[str]:
    """Return the strings of a file, what is filled in replaced by 1."""
    texts = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    return texts


def test_filters_of_warnings_match_a_warning() -> None:
    """Patterns are matched from the first character on; one that says half a sentence filters nothing."""
    package = [text for path in (ROOT / "nirs4all_vit").rglob("*.py") for text in _texts(path)]
    patterns = []
    for path in [*(ROOT / "nirs4all_vit").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.filterwarnings":
                patterns += [ast.literal_eval(word.value) for word in node.keywords if word.arg == "message"]
    assert len(patterns) >= 2
    for pattern in patterns:
        assert any(re.match(pattern, text, re.IGNORECASE) for text in package if text != pattern), pattern
