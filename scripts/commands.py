"""Writes docs/commands.md from what `callctl COMMAND --help` shows; a test compares the two."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from callctl.cli.lazy import every_command

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
HEAD = """\
# Commands

What `callctl COMMAND --help` shows; `python scripts/commands.py` writes this page.
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(f"\n## {name}\n\n```\n{shown(name)}\n```\n" for name, _ in every_command())


@cache
def shown(command: str) -> str:
    """Return a command's help as a terminal of 100 columns shows it."""
    env = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    line = [sys.executable, "-m", "callctl", *command.split(), "--help"]
    text = subprocess.run(line, env=env, check=True, capture_output=True, encoding="utf-8").stdout
    return "\n".join(row.rstrip() for row in text.strip().splitlines())


def main() -> None:
    """Write the page to its place."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
