"""The architecture page against the modules that exist, and against the floors that lint-imports checks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "callctl"


def listed() -> list[tuple[int, str]]:
    """Return floor and name of each module on the page, in its order."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    floor, found = -1, []
    for number, name in re.findall(r"^  (\d| )  (\w+)(?:\.py|/) +\S", page, re.MULTILINE):
        floor = int(number) if number.strip() else floor
        found.append((floor, name))
    return found


def layers() -> list[set[str]]:
    """Return the layers that lint-imports checks, the lowest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    return [set(layer.split(" | ")) for layer in reversed(contract["layers"])]


def test_each_module_has_its_line() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in PACKAGE.glob("[!_]*.py")}
    names = [name for _, name in listed()]
    assert sorted(names) == sorted(rooms | modules)


def test_the_floors_are_those_that_are_checked() -> None:
    height = {name: number for number, layer in enumerate(layers()) for name in layer}
    heights = [height[name] for _, name in listed()]
    assert heights == sorted(heights)
    floors = [floor for floor, _ in listed()]
    assert floors == sorted(floors)
    assert set(floors) == set(range(8))
