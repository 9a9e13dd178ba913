"""Stories as CSV: a row for each leg, in columns that stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from callctl.reports.stories.story import Story, StoryLeg
from callctl.support.dates import format_date
from callctl.views.csv_rows import csv_line

# A column may be added at the end; none is renamed, moved or left out.
_COLUMNS: Final[dict[str, Callable[[Story, StoryLeg], object]]] = {
    "family": lambda story, _: story.sid,
    "sid": lambda _, story_leg: story_leg.leg.call_sid,
    "parent_call_sid": lambda _, story_leg: story_leg.leg.parent_call_sid,
    "status": lambda _, story_leg: story_leg.leg.status,
    "direction": lambda _, story_leg: story_leg.leg.direction,
    "from": lambda _, story_leg: story_leg.leg.from_,
    "to": lambda _, story_leg: story_leg.leg.to,
    "began_at": lambda _, story_leg: format_date(story_leg.began_at),
    "initiated_at": lambda _, story_leg: format_date(story_leg.leg.initiated_at),
    "ringing_at": lambda _, story_leg: format_date(story_leg.leg.ringing_at),
    "answered_at": lambda _, story_leg: format_date(story_leg.leg.answered_at),
    "ended_at": lambda _, story_leg: format_date(story_leg.leg.ended_at),
    "ring_seconds": lambda _, story_leg: story_leg.ring_seconds,
    "talk_seconds": lambda _, story_leg: story_leg.talk_seconds,
    "duration": lambda _, story_leg: story_leg.duration,
    "sip_response_code": lambda _, story_leg: story_leg.leg.sip_response_code,
    "answered_by": lambda _, story_leg: story_leg.leg.answered_by,
    "caller_name": lambda _, story_leg: story_leg.leg.caller_name,
    "ended_by": lambda _, story_leg: story_leg.ending.by,
    "ended_by_whom": lambda _, story_leg: story_leg.ending.who,
    "ended_how": lambda _, story_leg: story_leg.ending.words,
    "redirects": lambda _, story_leg: story_leg.redirects,
    "requests_failed": lambda _, story_leg: story_leg.requests_failed,
    "callbacks": lambda _, story_leg: story_leg.callbacks,
    "callbacks_missing": lambda _, story_leg: len(story_leg.missing_callbacks),
    "price": lambda _, story_leg: None if story_leg.call is None else story_leg.call.price,
    "price_unit": lambda _, story_leg: None if story_leg.call is None else story_leg.call.price_unit,
    "error_codes": lambda _, story_leg: " ".join(dict.fromkeys(note.code or "" for note in story_leg.notifications)),
}
COLUMNS: Final = tuple(_COLUMNS)


def csv_lines(stories: Iterable[Story]) -> Iterator[str]:
    """Yield the lines: the names of the columns, then a line for each leg, one family after the other."""
    yield csv_line(COLUMNS)
    for story in stories:
        for story_leg in story.legs:
            yield csv_line([value(story, story_leg) for value in _COLUMNS.values()])
