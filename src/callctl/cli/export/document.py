"""What is written of the stories of calls: a page, a Mermaid document, CSV or JSON."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.cli.export.source import Family, Source
from callctl.cli.export.target import Target
from callctl.cli.io.runtime import Runtime

if TYPE_CHECKING:
    from callctl.reports.overview import Overview
    from callctl.reports.stories.story import Story

_LONGEST_NAME = 100  # characters of a SID in the name of a file


def write_document(
    source: Source, families: Sequence[Family], target: Target, *, chosen: str, most: int
) -> Path | None:
    """Write a page or a Mermaid document of the stories in which most went wrong; return its path, if it has one."""
    from callctl.reports.overview import Overview

    overview = Overview()
    stories, left_out = _worst(source.stories(families), overview, most=most)
    if not stories:
        source.runtime.say("callctl: no calls match")
        return None
    _say_left_out(source.runtime, left_out, of=overview.calls)
    render = _html if target.format == "html" else _markdown
    untaken = source.untaken({leg for family in families for leg in family.legs})
    pieces = render(source, stories, overview, chosen=chosen, left_out=left_out, untaken=untaken)
    return target.write(pieces, name=_name_of(source, stories))


def _worst(stories: Iterable[Story], overview: Overview, *, most: int) -> tuple[list[Story], int]:
    """Return the stories in which most went wrong, the oldest first, and how many others there are; count all."""
    kept: list[tuple[int, float, int, Story]] = []
    left_out = 0
    for number, story in enumerate(stories):
        overview.add(story)
        heapq.heappush(kept, (story.trouble, story.began_at.timestamp(), number, story))
        if len(kept) > most:
            heapq.heappop(kept)
            left_out += 1
    return sorted((story for *_, story in kept), key=lambda story: story.began_at), left_out


def _html(
    source: Source, stories: list[Story], overview: Overview, *, chosen: str, left_out: int, untaken: list[str]
) -> Iterator[str]:
    from callctl import __version__
    from callctl.reports.page import Page, html

    runtime, settings = source.runtime, source.settings
    return html(
        Page(
            stories,
            overview,
            chosen=chosen,
            made_at=runtime.now(),
            version=__version__,
            api_url=None if settings.is_twilio else settings.api_url,
            left_out=left_out,
            untaken=untaken,
            notes=list(_notes(source, chosen)),
        )
    )


def _markdown(
    source: Source, stories: list[Story], overview: Overview, *, chosen: str, left_out: int, untaken: list[str]
) -> Iterator[str]:
    from callctl.reports.mermaid import markdown

    api = "" if source.settings.is_twilio else f"Not Twilio: the API was {source.settings.api_url}"
    said = f"{left_out:,} of {overview.calls:,} calls are left out; --limit N shows more." if left_out else ""
    notes = [*(overview.in_words if overview.calls > 1 else ()), *untaken, said, api]
    title = f"What happened{f': {chosen}' if chosen else ''}"
    return markdown(stories, title=title, notes=[note for note in notes if note])


def _notes(source: Source, chosen: str) -> Iterator[str]:
    """Yield what a page rests on."""
    rest = ", and from what the API knew of the calls at that time" if source.client is not None else ""
    yield f"Written from the callbacks that callctl stored and from what its commands and rules did{rest}."
    if source.client is None:
        silent = (
            "errors that Twilio noted, and calls of which no callback came,"
            if chosen
            else "and errors that Twilio noted,"
        )
        yield f"Prices, {silent} are not in it: --fetch gets them from the API."
    if source.masks:
        yield "Phone numbers and names are masked."


def write_data(source: Source, families: Sequence[Family], target: Target, *, most: int | None) -> Path | None:
    """Write CSV or JSON, story by story; return its path, if it has one."""
    left_out = 0 if most is None else max(0, len(families) - most)
    _say_left_out(source.runtime, left_out, of=len(families))
    stories = source.stories(families[left_out:])
    first = list(islice(stories, 2))
    if not first:
        source.runtime.say("callctl: no calls match")
    every = chain(first, stories)
    return target.write(_csv(every) if target.format == "csv" else _json(every, source), name=_name_of(source, first))


def _say_left_out(runtime: Runtime, left_out: int, *, of: int) -> None:
    if left_out:
        runtime.say(f"callctl: {left_out:,} of {of:,} calls are left out; --limit N shows more")


def _csv(stories: Iterable[Story]) -> Iterator[str]:
    from callctl.reports.story_csv import csv_lines

    return (f"{line}\n" for line in csv_lines(stories))


def _json(stories: Iterable[Story], source: Source) -> Iterator[str]:
    from callctl.reports.story_json import story_json
    from callctl.views.terminal_safe import json_text

    extra = {} if source.settings.is_twilio else {"api_url": source.settings.api_url}
    opening = "["
    for story in stories:
        yield f"{opening}{json_text({**story_json(story), **extra})}"
        opening = ",\n "
    yield "[]\n" if opening == "[" else "]\n"


def _name_of(source: Source, stories: Sequence[Story]) -> str:
    """Return the name of a file, without its ending: after the one call, or the day on which the first began."""
    if len(stories) == 1:
        return f"callctl-{re.sub('[^A-Za-z0-9._-]', '-', stories[0].sid[:_LONGEST_NAME])}"
    first = min((story.began_at for story in stories), default=source.runtime.now())
    return f"callctl-{first.astimezone():%Y-%m-%d}"
