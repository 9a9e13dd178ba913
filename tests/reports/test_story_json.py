"""A story as JSON: all of it, with the field names that other commands have."""

from __future__ import annotations

import json
from decimal import Decimal

from events import sid

from callctl.calls.call import Call
from callctl.reports.stories.rest_facts import RestFacts
from callctl.reports.story_json import story_json
from reports.evening import COLLEAGUE, StoredCalls, dials, storm


def test_a_family_has_its_legs_and_its_timeline() -> None:
    stored = StoredCalls()
    record = story_json(stored.story(dials(stored, 0)))
    assert json.loads(json.dumps(record)) == record
    assert (record["type"], record["outcome"], record["seconds"]) == ("story", "completed", 41)
    assert [leg["status"] for leg in record["legs"]] == ["completed", "completed", "canceled"]
    assert record["legs"][0]["ended"] == {"by": "command", "who": COLLEAGUE, "how": f"hung up by {COLLEAGUE}"}
    assert record["legs"][1]["parent_call_sid"] == record["sid"]
    assert {item["type"] for item in record["timeline"]} == {"event", "action"}
    assert len(record["timeline"]) == 12


def test_what_rest_alone_knows_is_null_until_it_was_fetched() -> None:
    stored = StoredCalls()
    call = storm(stored, 0)
    leg = story_json(stored.story(call))["legs"][0]
    assert (leg["price"], leg["notifications"]) == (None, None)
    facts = RestFacts({sid(call): Call(sid(call), "completed", price=Decimal("-0.013"), price_unit="USD")})
    record = story_json(stored.story(call, facts=facts))
    assert (record["cost"], record["cost_unit"]) == (0.013, "USD")
    assert (record["legs"][0]["price"], record["legs"][0]["notifications"]) == (-0.013, [])
