"""The findings of checks: lines with a glyph for people, tab-separated ones for pipes, and one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from callctl.views.doctor_finding import Finding, Level
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {
    Level.FINE: ("✓", "green"),
    Level.WARNING: ("!", "bold"),
    Level.WRONG: ("✗", "bold red"),
    Level.SKIPPED: ("-", "dim"),
}
# Cells for the text beside the names, at least; below it, text begins on the next line.
_LEAST_TEXT = 30


def plain_line(finding: Finding) -> str:
    """Return one finding as tab-separated fields: level, name, text, fix with the command that does it, if any."""
    fix = ": ".join(filter(None, (finding.fix, _command(finding))))
    return "\t".join(printable(text) for text in (finding.level, finding.name, _text(finding), fix))


def _command(finding: Finding) -> str:
    return str(finding.facts.get("command", ""))


def _text(finding: Finding) -> str:
    """Return the text, with the API's code and where it is explained, if it refused."""
    facts = [str(finding.facts[name]) for name in ("code", "more_info") if name in finding.facts]
    return f"{finding.text} ({', '.join(facts)})" if facts else finding.text


def to_json(settings: Sequence[Finding], checks: Sequence[Finding]) -> dict[str, Any]:
    """Return all findings as one object. ``passed``: nothing is wrong, though there may be warnings."""
    return {
        "v": 1,
        "type": "doctor",
        "passed": not any(finding.level is Level.WRONG for finding in (*settings, *checks)),
        "settings": [_record(finding) for finding in settings],
        "checks": [_record(finding) for finding in checks],
    }


def _record(finding: Finding) -> dict[str, Any]:
    record = {"name": finding.name, "level": finding.level.value, "text": finding.text, "fix": finding.fix}
    return record | dict(finding.facts)


def print_finding(console: Console, finding: Finding, *, width: int) -> None:
    """Draw one finding, its fix below it; ``width`` is that of the names' column. Long text goes on under itself."""
    from rich.text import Text

    glyph, style = _STYLES[finding.level]
    head = f"{glyph} {printable(finding.name):<{width}}  "
    indent = len(head) if console.width - len(head) >= _LEAST_TEXT else 4
    body = Text(printable(_text(finding)), style="" if finding.level is not Level.SKIPPED else "dim")
    lines = list(body.wrap(console, max(console.width - indent, _LEAST_TEXT)))
    if finding.fix:
        lines += _indented(Text(printable(finding.fix)).wrap(console, max(console.width - indent - 2, _LEAST_TEXT)))
    first, *rest = lines if indent == len(head) else [Text(), *lines]
    for line in (Text.assemble((head, style), first), *(Text.assemble(" " * indent, text) for text in rest)):
        line.rstrip()
        console.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
    if command := _command(finding):  # on one line whatever its length, so that it can be copied
        console.print(Text(f"    {printable(command)}"), no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)


def _indented(lines: Any) -> list[Any]:
    from rich.text import Text

    return [Text.assemble(("→ " if number == 0 else "  ", "bold"), line) for number, line in enumerate(lines)]
