"""Help pages: headings, and one line an option at 80 columns. What takes more words is in docs/commands.md.

An option's help is its line; further paragraphs of it are for the document alone.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from callctl.cli.options.common import ADVANCED

WIDTH = 80  # columns, at most
_NARROWEST = 30
_LEAST_TEXT = 20  # columns beside an option; with fewer, its text is below it
_PLAIN_DEFAULTS = (None, False, "", 0, "0", "0s")  # that go without saying

Row: TypeAlias = tuple[str, str]  # what is typed, and what it does
Section: TypeAlias = tuple[str, list[Row], int]  # a heading, its rows, and the width of what is typed
Paint: TypeAlias = Callable[[str, str], str]  # a text and what it is: _HEADING or _TYPED

_HEADING, _TYPED = "1", "1;36"  # bold, and bold cyan, as terminals have them


def write_page(command: Any, ctx: Any, formatter: Any) -> None:
    """Write a command's page, painted if it goes to a terminal and nothing speaks against it."""
    environ = getattr(ctx.find_root().obj, "environ", os.environ)
    is_terminal = sys.stdout.isatty()
    painted = is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    if painted:
        from callctl.views.terminal_safe import allow_colours

        allow_colours(sys.stdout)
    width = _columns(environ) if is_terminal else WIDTH
    formatter.write(page(command, ctx, width=width, paint=_painted if painted else _plain))


def page(command: Any, ctx: Any, *, width: int = WIDTH, paint: Paint | None = None) -> str:
    """Return a command's page; no line but an example is wider than ``width``."""
    drawing = _Drawing(width, paint or _plain)
    blocks = [
        [command.get_usage(ctx)],
        *drawing.text(command.help or ""),
        *map(drawing.section, _sections(command, ctx)),
    ]
    if command.epilog:
        blocks.append(drawing.wrapped(command.epilog))
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def in_full(command: Any, ctx: Any) -> str:
    """Return what the document says beside a command's page; empty if that is all."""
    drawing = _Drawing(WIDTH, _plain)
    blocks = []
    for param in command.get_params(ctx):
        said = " ".join(filter(None, (" ".join(param.in_full.split()), _range(param))))
        if said:
            blocks.append([_typed(param, ctx), *drawing.wrapped(said, indent=4)])
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _sections(command: Any, ctx: Any) -> Iterator[Section]:
    """Yield the sections of a page: arguments, commands, options by heading, the general ones, the advanced ones."""
    arguments: list[Row] = []
    options: dict[str | None, list[Row]] = {}
    for param in command.get_params(ctx):
        if getattr(param, "hidden", False):
            continue
        if param.param_type_name == "argument":
            arguments.append((_typed(param, ctx), param.help or ""))
        else:
            options.setdefault(getattr(param, "rich_help_panel", None), []).append((_typed(param, ctx), _line(param)))
    if arguments:
        yield _section("Arguments", arguments)
    yield from _commands(command)
    general, advanced = options.pop(None, []), options.pop(ADVANCED, [])
    yield from (_section(str(heading), rows) for heading, rows in options.items())
    if general:
        yield _section("General" if options else "Options", general)
    if advanced:
        yield _section(ADVANCED, advanced)


def _section(heading: str, rows: list[Row]) -> Section:
    return heading, rows, max(len(typed) for typed, _ in rows)


def _commands(command: Any) -> Iterator[Section]:
    """Yield the commands of a group in its parts, their texts in one column through all of them."""
    heading, parts = "Commands", dict[str, list[Row]]()
    for name, sub in getattr(command, "commands", {}).items():
        heading = getattr(sub, "heading", "") or heading
        parts.setdefault(heading, []).append((name, sub.help or ""))
    widest = max((len(name) for rows in parts.values() for name, _ in rows), default=0)
    yield from ((heading, rows, widest) for heading, rows in parts.items())


def _typed(param: Any, ctx: Any) -> str:
    """Return what is typed for a parameter."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    names = ", ".join(sorted(param.opts, key=len))
    return names if param.is_flag else f"{names} {param.display_type_rich(ctx)}"


def _line(param: Any) -> str:
    """Return an option's help with its default, or that it must be given."""
    note = "[required]" if param.required else ""
    if param.show_default and not callable(param.default) and param.default not in _PLAIN_DEFAULTS:
        note = f"[default: {param.default}]"
    return " ".join(filter(None, (param.help, note)))


def _range(param: Any) -> str:
    least, most = getattr(param, "min", None), getattr(param, "max", None)
    if most is not None:
        return f"From {least} to {most}."
    return f"At least {least}." if least else ""


@dataclass(frozen=True, slots=True)
class _Drawing:
    """How a page is drawn: its width, and what paints a word."""

    width: int
    paint: Paint

    def text(self, text: str) -> Iterator[list[str]]:
        """Yield the paragraphs of a command's text: what it does, the examples, and what is to be known."""
        opening, *others = text.split("\n\n")
        yield self.wrapped(" ".join(opening.split()))
        if others:  # the examples, whole, so that they can be copied
            yield [f"  {line}" for line in others[0].splitlines()]
            yield from self.paragraphs("\n\n".join(others[1:]))

    def paragraphs(self, text: str) -> Iterator[list[str]]:
        """Yield paragraphs: prose is filled anew, and what is indented stays line by line, as tables must."""
        for paragraph in filter(None, text.split("\n\n")):
            if paragraph.startswith(" "):
                yield [part for line in paragraph.splitlines() for part in self._broken(line)]
            else:
                yield self.wrapped(" ".join(paragraph.split()))

    def section(self, section: Section) -> list[str]:
        """Return a heading and its rows, the texts below each other."""
        heading, rows, widest = section
        column = 4 + widest
        return [self.paint(f"{heading}:", _HEADING), *(line for row in rows for line in self._row(row, column))]

    def wrapped(self, text: str, *, indent: int = 0) -> list[str]:
        """Return a text as lines."""
        return self._fold(text, self.width - indent, " " * indent)

    def _row(self, row: Row, column: int) -> list[str]:
        typed, text = row
        left = f"  {self.paint(typed, _TYPED)}"
        if self.width - column < _LEAST_TEXT:
            return [left, *self.wrapped(text, indent=6)]
        first, *more = self._fold(text, self.width - column, " " * column) or [""]
        return [f"{left}{' ' * (column - 2 - len(typed))}{first.strip()}".rstrip(), *more]

    def _broken(self, line: str) -> list[str]:
        if len(line) <= self.width:
            return [line]
        indent = line[: len(line) - len(line.lstrip())]
        return self._fold(line.strip(), self.width - len(indent), indent)

    @staticmethod
    def _fold(text: str, width: int, indent: str) -> list[str]:
        lines = textwrap.wrap(text, max(width, _LEAST_TEXT), break_long_words=False, break_on_hyphens=False)
        return [f"{indent}{line}" for line in lines]


def _painted(text: str, what: str) -> str:
    return f"\x1b[{what}m{text}\x1b[0m"


def _plain(text: str, _what: str) -> str:
    return text


def _columns(environ: Mapping[str, str]) -> int:
    named = environ.get("COLUMNS", "")
    columns = int(named) if named.isascii() and named.isdecimal() and len(named) < 6 else 0
    if not columns:
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
    return min(max(columns, _NARROWEST), WIDTH) if columns else WIDTH  # a terminal that does not know its width says 0
