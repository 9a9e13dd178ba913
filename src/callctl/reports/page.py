"""Stories as one HTML page, which loads nothing from elsewhere and has no script.

All text passes ``printable`` and the escaping of Jinja2, so that what a caller or an application sent stays text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callctl.reports.diagram import diagram_of
from callctl.reports.stories.story import Story
from callctl.support.dates import format_date
from callctl.views.style import glyph
from callctl.views.table import clock
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from jinja2 import Environment

    from callctl.reports.overview import Overview

TEMPLATES = Path(__file__).parent / "templates"
# Steps of a timeline; a call that is redirected without end would fill the page.
_MOST_STEPS = 1000
_MOST_WORST = 6


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows: figures of all calls that were chosen, and their stories, or some of them.

    ``chosen`` says in words which calls were chosen, ``left_out`` is how many stories the page lacks, ``api_url`` is
    None for Twilio's own API. ``untaken`` says which applications have not taken callbacks, and ``notes`` say where the
    facts are from.
    """

    stories: Sequence[Story]
    overview: Overview
    chosen: str
    made_at: datetime
    version: str
    api_url: str | None = None
    left_out: int = 0
    untaken: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def worst(self) -> list[Story]:
        """The stories in which most went wrong, to begin with."""
        ranked = sorted(self.stories, key=lambda story: (-story.trouble, story.began_at))
        return [story for story in ranked[:_MOST_WORST] if story.trouble]

    @property
    def more_trouble(self) -> int:
        """In how many more of the stories something went wrong."""
        return sum(1 for story in self.stories if story.trouble) - len(self.worst)


def html(page: Page) -> Iterator[str]:
    """Yield the page piece by piece."""
    template = _environment().get_template("page.html")
    return template.generate(page=page, overview=page.overview, is_one=page.overview.calls == 1)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_safe,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"clock": clock, "time": _time, "day": _day, "iso": format_date, "glyph": glyph}
    made.globals |= {"diagram_of": diagram_of, "error_link": error_link, "zone": _zone, "most_steps": _MOST_STEPS}
    return made


def _safe(value: Any) -> Any:
    """Return a text as it can be printed; markup that a template made stays as it is."""
    return printable(value) if type(value) is str else value


def error_link(code: str | None) -> str | None:
    """Return the URL at which Twilio explains an error; None if it is no code of Twilio's."""
    is_twilios = code is not None and len(code) == 5 and code.isascii() and code.isdecimal()
    return f"https://www.twilio.com/docs/api/errors/{code}" if is_twilios else None


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone():%A} {moment.astimezone().day} {moment.astimezone():%B %Y}"


def _zone(moment: datetime) -> str:
    """Return the local zone as an offset: ``UTC+01:00``."""
    offset = f"{moment.astimezone():%z}"
    return "UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:5]}"
