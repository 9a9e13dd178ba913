"""What REST says of a family: all its legs, whichever is named, and what can't be had."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from api.scripted import Handler, Server, call, reply
from events import ACCOUNT, WORLD, event, moment, sid

from callctl.api.client import ApiClient
from callctl.calls.event import MISSED, POLLED
from callctl.errors import NotFoundError
from callctl.operations.rest_family import RestFamily, fetch_family, unreported
from callctl.reports.stories.rest_facts import RestFacts
from callctl.settings import load

PARENT, ONE, TWO = sid(1), sid(2), sid(3)
CALLS = {PARENT: call(PARENT), **{leg: call(leg, parent_call_sid=PARENT) for leg in (ONE, TWO)}}
NOT_FOUND = reply(404, {"code": 20404, "message": "not found", "status": 404})


def answer(handler: Handler, *, broken: str = "") -> None:
    """Answer as a service that has a parent with two children, and an error of each."""
    path = handler.path
    if broken and broken in path:
        reply(403, {"code": 20403, "message": "not for you"})(handler)
    elif "Notifications" in path:
        leg = path.split("/Calls/")[1].split("/")[0]
        reply(200, {"notifications": [{"sid": f"NO{leg}", "error_code": "11200", "log": "0"}]})(handler)
    elif "ParentCallSid" in path:
        children = [one for one in CALLS.values() if one.get("parent_call_sid") and f"ParentCallSid={PARENT}" in path]
        reply(200, {"calls": children})(handler)
    else:
        found = CALLS.get(path.partition("?")[0].removesuffix(".json").rpartition("/")[2])
        (NOT_FOUND if found is None else reply(200, found))(handler)


def fetched(named: str, *legs: str, broken: str = "") -> RestFamily:
    with Server(lambda handler: answer(handler, broken=broken)) as server:
        env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        api = ApiClient(load(env, cwd=Path("/")), request_timeout=10, sleep=lambda _seconds: None, random=lambda: 0.5)
        return fetch_family(api, named, legs)


@pytest.mark.parametrize("named", [PARENT, ONE])
@pytest.mark.parametrize("known", [(), (PARENT, ONE), (PARENT, ONE, TWO)])
def test_all_legs_come_with_their_errors(named: str, known: tuple[str, ...]) -> None:
    found = fetched(named, *known)
    assert found.facts.calls.keys() == {PARENT, ONE, TWO}
    assert {leg: [note.sid for note in notes] for leg, notes in found.facts.notifications.items()} == {
        leg: [f"NO{leg}"] for leg in (PARENT, ONE, TWO)
    }
    assert found.missing == {}


def test_what_can_not_be_had_is_named_and_left_out() -> None:
    found = fetched(PARENT, broken=f"{ONE}/Notifications")
    assert list(found.missing) == [(ONE, "errors and warnings")]
    assert ONE not in found.facts.notifications
    children = fetched(PARENT, broken="ParentCallSid")
    assert (list(children.missing), list(children.facts.calls)) == ([(PARENT, "child legs")], [PARENT])


def test_a_call_that_twilio_no_longer_keeps() -> None:
    assert fetched(sid(9), sid(9)) == RestFamily(RestFacts(), {})
    with pytest.raises(NotFoundError):
        fetched(sid(9))


def test_what_no_event_reported_becomes_one() -> None:
    found = fetched(PARENT)
    for one in found.facts.calls.values():
        one.status, one.end_time = "completed", moment(30)
    events = [event(PARENT, "in-progress", number=0, at=0), event(ONE, "completed", number=0, at=20, parent=PARENT)]
    new = unreported(found.facts, events, now=moment(0) + timedelta(hours=1), world=WORLD)
    assert [(one.call_sid, one.kind, one.status) for one in new] == [
        (PARENT, MISSED, "completed"),
        (TWO, POLLED, "completed"),
    ]
