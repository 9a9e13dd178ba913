"""CSV: a row for each leg, to the letter."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal

import pytest
from events import event, sid

from callctl.api.resources import Notification
from callctl.calls.call import Call
from callctl.reports.stories.rest_facts import RestFacts
from callctl.reports.story_csv import COLUMNS, csv_lines
from callctl.reports.story_json import story_json
from reports.evening import HOSTILE, StoredCalls
from reports.test_mermaid import golden, some_stories


def rows(*lines: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("\n".join(lines))))


def test_a_row_a_leg() -> None:
    golden("".join(f"{line}\n" for line in csv_lines(some_stories())), "legs.csv")


def test_the_columns_stay_as_they_are() -> None:
    assert list(csv_lines([])) == [",".join(COLUMNS)]
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_what_a_caller_sends_is_computed_by_no_spreadsheet() -> None:
    stored = StoredCalls()
    stored.events.append(event(1, "busy", number=0, at=0, To='=HYPERLINK("https://example.com")', CallerName=HOSTILE))
    (row,) = rows(*csv_lines([stored.story(1)]))
    assert row["to"] == '\'=HYPERLINK("https://example.com")'
    assert row["from"] == "+15005550006"  # a number alone computes nothing
    assert "\x1b" not in row["caller_name"]


def test_what_rest_adds() -> None:
    stored = StoredCalls()
    stored.events.append(event(1, "completed", number=0, at=0))
    codes = ("11200", "11200", "13224")
    notes = [Notification(f"NO{number}", code, "error", "", None, None, None) for number, code in enumerate(codes)]
    call = Call(sid(1), "completed", price=Decimal("-0.013"), price_unit="USD")
    (row,) = rows(*csv_lines([stored.story(1, facts=RestFacts({sid(1): call}, {sid(1): notes}))]))
    assert (row["price"], row["price_unit"], row["error_codes"]) == ("-0.013", "USD", "11200 13224")


@pytest.mark.parametrize(
    ("statuses", "duration"),
    [
        (["ringing", "no-answer"], ""),
        (["ringing", "canceled"], ""),
        (["busy"], ""),
        (["failed"], ""),
        (["in-progress", "completed"], "0"),
        (["completed"], "0"),
    ],
)
def test_a_leg_that_was_never_answered_has_no_duration(statuses: list[str], duration: str) -> None:
    stored = StoredCalls()
    for number, status in enumerate(statuses):
        stored.events.append(event(1, status, number=number, at=number, CallDuration="0"))
    story = stored.story(1)
    (row,) = rows(*csv_lines([story]))
    assert row["duration"] == duration
    assert story_json(story)["legs"][0]["duration"] == (int(duration) if duration else None)


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled", "completed", "in-progress", "odd"])
@pytest.mark.parametrize("direction", ["inbound", "outbound-api"])
def test_how_a_leg_ended_is_no_formula_though_it_names_a_number(status: str, direction: str) -> None:
    stored = StoredCalls()
    stored.events.append(event(1, status, number=0, at=0, Direction=direction))
    (row,) = rows(*csv_lines([stored.story(1)]))
    assert re.match("[a-z]", row["ended_how"])
