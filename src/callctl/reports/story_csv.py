"""Stories as CSV: a row for each leg, in columns that stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from callctl.calls.action import DONE
from callctl.reports.stories.story import Story, StoryLeg
from callctl.support.dates import format_date
from callctl.views.csv_rows import csv_line

# A column may be added at the end; none is renamed, moved or left out.
_COLUMNS: Final[dict[str, Callable[[Story, StoryLeg], object]]] = {
    "family": lambda story, _: story.sid,
    "sid": lambda _, one: one.leg.call_sid,
    "parent_call_sid": lambda _, one: one.leg.parent_call_sid,
    "status": lambda _, one: one.leg.status,
    "direction": lambda _, one: one.leg.direction,
    "from": lambda _, one: one.leg.from_,
    "to": lambda _, one: one.leg.to,
    "began_at": lambda _, one: format_date(one.began_at),
    "initiated_at": lambda _, one: format_date(one.leg.initiated_at),
    "ringing_at": lambda _, one: format_date(one.leg.ringing_at),
    "answered_at": lambda _, one: format_date(one.leg.answered_at),
    "ended_at": lambda _, one: format_date(one.leg.ended_at),
    "ring_seconds": lambda _, one: one.ring_seconds,
    "talk_seconds": lambda _, one: one.talk_seconds,
    "duration": lambda _, one: one.duration,
    "sip_response_code": lambda _, one: one.leg.sip_response_code,
    "answered_by": lambda _, one: one.leg.answered_by,
    "caller_name": lambda _, one: one.leg.caller_name,
    "ended_by": lambda _, one: one.ending.by,
    "ended_by_whom": lambda _, one: one.ending.who,
    "ended_how": lambda _, one: one.ending.words,
    "redirects": lambda _, one: one.redirects,
    "requests_failed": lambda story, one: _failed(story, one),
    "callbacks": lambda _, one: one.callbacks,
    "callbacks_missing": lambda _, one: len(one.missing_callbacks),
    "price": lambda _, one: None if one.call is None else one.call.price,
    "price_unit": lambda _, one: None if one.call is None else one.call.price_unit,
    "error_codes": lambda _, one: " ".join(dict.fromkeys(note.code or "" for note in one.notifications)),
}
COLUMNS: Final = tuple(_COLUMNS)


def _failed(story: Story, one: StoryLeg) -> int:
    return sum(action.call_sid == one.leg.call_sid and action.result != DONE for action in story.actions)


def csv_lines(stories: Iterable[Story]) -> Iterator[str]:
    """Yield the lines: the names of the columns, then a line for each leg, one family after the other."""
    yield csv_line(COLUMNS)
    for story in stories:
        for one in story.legs:
            yield csv_line([value(story, one) for value in _COLUMNS.values()])
