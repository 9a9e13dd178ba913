"""The architecture page against the modules that exist, and against the layers that lint-imports checks."""

from __future__ import annotations

import re
import tomllib

from paths import ROOT, TESTS

PACKAGE = ROOT / "src" / "callctl"


def listed() -> list[str]:
    """Return the entries on the page, the lowest layer first."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^  (\w+)(?:\.py|/) +\S", page, re.MULTILINE)


def layers() -> list[str]:
    """Return the layers that lint-imports checks, the lowest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    return list(reversed(contract["layers"]))


def test_each_entry_has_its_line_in_the_order_that_is_checked() -> None:
    assert listed() == layers()


def test_nothing_else_is_there() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in PACKAGE.glob("[!_]*.py")}
    assert sorted(listed()) == sorted(packages | modules)


def test_the_simulator_may_import_support_alone() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (island,) = (one for one in contracts if one.get("source_modules") == ["callctl.simulator"])
    assert {*island["forbidden_modules"]} == {f"callctl.{name}" for name in layers()} - {
        "callctl.simulator",
        "callctl.support",
    }


def test_a_folder_answers_one_question_and_so_has_few_files() -> None:
    folders = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    files = {str(folder): [path.name for path in folder.iterdir() if path.is_file()] for folder in folders}
    assert not {folder: names for folder, names in files.items() if len(names) > 16}


def test_each_test_file_is_named_after_what_it_tests() -> None:
    """``tests/a/test_b.py`` and ``tests/a/test_b_part.py`` test ``a/b.py``, or all of the folder ``a/b``.

    Those in a folder ``scenarios`` tell whole stories, and are named after them.
    """
    for test in (path for path in TESTS.rglob("test_*.py") if path.parent != TESTS and path.parent.name != "scenarios"):
        folder = PACKAGE / test.parent.relative_to(TESTS)
        names = {path.stem for path in folder.iterdir()}
        words = test.stem.removeprefix("test_").split("_")
        assert names & {"_".join(words[:end]) for end in range(1, len(words) + 1)}, test
