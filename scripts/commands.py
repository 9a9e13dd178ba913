"""Writes docs/commands.md: each command's help page, and what takes more words than a page has room for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from callctl.cli.commands import LazyCommand, every_command
from callctl.cli.help_pages import in_full, page

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
HEAD = """\
# Commands

Which options has each command? This page has what `callctl COMMAND --help` shows and, below it, what needs more words.
[calls.md](calls.md) says what the commands do to calls. `python scripts/commands.py` writes this page.
"""


def document() -> str:
    """Return the document."""
    return HEAD + "".join(f"\n## {name}\n\n{_section(name)}" for name, _ in every_command())


def _section(name: str) -> str:
    more = explained(name)
    return _block(shown(name)) + (f"\nMore on it:\n\n{_block(more)}" if more else "")


def _block(text: str) -> str:
    return f"```text\n{text.strip()}\n```\n"


@cache
def shown(name: str) -> str:
    """Return a command's help page."""
    return page(*command(name))


@cache
def explained(name: str) -> str:
    """Return what is to be said of a command beside its page."""
    return in_full(*command(name))


def command(name: str) -> tuple[Any, Any]:
    """Return a command and the context in which its help is requested."""
    real = LazyCommand(dict(every_command())[name]).real
    context = real.context_class(real, info_name=f"callctl {name}", help_option_names=["-h", "--help"])
    return real, context


def main() -> None:
    """Write the document to its place."""
    PAGE.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
