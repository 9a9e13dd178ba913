"""A story as JSON, with the field names of ``list``, ``show`` and ``watch --json``."""

from __future__ import annotations

from typing import Any

from callctl.reports.stories.story import Story, StoryLeg
from callctl.support.dates import format_date
from callctl.views.call_page import note_json


def story_json(story: Story) -> dict[str, Any]:
    """Return a family: how it came out, its legs, its timeline and what stands out."""
    cost = story.cost
    return {
        "v": 1,
        "type": "story",
        "sid": story.sid,
        "outcome": story.outcome,
        "began_at": format_date(story.began_at),
        "ended_at": format_date(story.ended_at),
        "seconds": story.seconds,
        "cost": None if cost is None else float(cost[0]),
        "cost_unit": None if cost is None else cost[1] or None,
        "remarks": [remark.words for remark in story.remarks],
        "legs": [_leg_json(story_leg) for story_leg in story.legs],
        "timeline": [step.item.to_json() for step in story.steps],
    }


def _leg_json(story_leg: StoryLeg) -> dict[str, Any]:
    leg, call = story_leg.leg, story_leg.call
    return {
        "sid": leg.call_sid,
        "parent_call_sid": leg.parent_call_sid,
        "status": leg.status,
        "direction": leg.direction or None,
        "from": leg.from_ or None,
        "to": leg.to or None,
        "began_at": format_date(story_leg.began_at),
        "initiated_at": format_date(leg.initiated_at),
        "ringing_at": format_date(leg.ringing_at),
        "answered_at": format_date(leg.answered_at),
        "ended_at": format_date(leg.ended_at),
        "ring_seconds": story_leg.ring_seconds,
        "talk_seconds": story_leg.talk_seconds,
        "duration": story_leg.duration,
        "sip_response_code": leg.sip_response_code,
        "answered_by": leg.answered_by,
        "caller_name": leg.caller_name,
        "ended": {"by": story_leg.ending.by, "who": story_leg.ending.who, "how": story_leg.ending.words},
        "redirects": story_leg.redirects,
        "callbacks": story_leg.callbacks,
        "missing_callbacks": list(story_leg.missing_callbacks),
        "verified": leg.verified,
        "price": None if call is None or call.price is None else float(call.price),
        "price_unit": None if call is None else call.price_unit,
        "notifications": None if call is None else [note_json(note) for note in story_leg.notifications],
    }
