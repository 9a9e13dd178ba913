"""Redirecting: what it does to the other leg, and what is said when it is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from events import WORLD, event, form
from legs import in_conference
from operations.fake_api import PARENT, SID, Answer, FakeApi, Reported, Time, call, wrong_state

from callctl.api.requests import RedirectRequest
from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.leg import Leg
from callctl.errors import NetworkError, NotInProgressError, UnknownCallError, WrongCallStateError
from callctl.operations.family import CallAndChildren
from callctl.operations.redirect import Conversation, conversation_of, preview, redirect, send_redirect, whose_phone
from callctl.operations.reported_status import seconds_before_end
from callctl.support.clock import Clock
from callctl.support.dates import format_date, time_of_day

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SURVEY = RedirectRequest(url="https://example.com/survey")


def leg(*steps: tuple[str, float]) -> Leg:
    """Return a leg with these steps from callbacks, each so many seconds before now."""
    board = Board()
    for number, (status, ago) in enumerate(steps):
        moment = NOW - timedelta(seconds=ago)
        fields = form(1, status, number=number) | {"Timestamp": format_date(moment) or ""}
        board.apply(CallEvent.from_form(fields.items(), received_at=moment, world=WORLD, verified=True))
    (family,) = board.snapshot().families
    return family.legs[0]


@dataclass
class Known:
    """Which legs were redirected, and where some go when their Dial is over."""

    redirects: Mapping[str, datetime] = field(default_factory=dict)
    actions: Mapping[str, str] = field(default_factory=dict)

    def redirected_at(self, sid: str) -> datetime | None:
        return self.redirects.get(sid)

    def dial_action(self, sid: str) -> str | None:
        return self.actions.get(sid)


def redirected(api: FakeApi, *, reported: Leg | None = None, time: Time | None = None) -> Call:
    time = time or Time()
    return redirect(
        api,
        SID,
        SURVEY,
        command=f"callctl redirect {SID} --url survey",
        reported=lambda: reported,
        sleep=time.sleep,
        monotonic=time.monotonic,
        clock=Clock(wall=lambda: NOW, elapsed=time.monotonic),
    )


def refusal(status: str, *, reported: Leg | None = None, **fields: Any) -> WrongCallStateError:
    with pytest.raises(WrongCallStateError) as caught:
        redirected(FakeApi(redirects=[wrong_state()], fetches=[call(status, **fields)]), reported=reported)
    return caught.value


def test_a_redirect_is_one_request() -> None:
    api = FakeApi(redirects=[call("in-progress")])
    assert redirected(api).status == "in-progress"
    assert api.requests == ["redirect"]


def test_a_refusal_says_what_the_call_does_and_what_would_work() -> None:
    error = refusal("ringing")
    assert error.message == f"{SID} can't be redirected: it is ringing"
    assert error.hint is not None
    assert f"`callctl redirect {SID} --url survey --when answered`" in error.hint
    assert f"`callctl hangup {SID}`" in error.hint
    assert (error.code, error.status) == ("21220", 400)


def test_since_when_is_said_when_callbacks_reported() -> None:
    error = refusal("ringing", reported=leg(("initiated", 33), ("ringing", 31)))
    assert error.message.endswith("since " + f"{time_of_day(NOW - timedelta(seconds=31))} (31 s ago)")
    # The API's own date counts before this machine's clock.
    error = refusal("ringing", reported=leg(("initiated", 33), ("ringing", 31)), as_of=NOW - timedelta(seconds=21))
    assert error.message.endswith(" (10 s ago)")


def test_of_a_call_that_is_over_no_command_is_promised_to_work_on_it() -> None:
    assert "it is over" in (refusal("busy").hint or "")
    assert f"`callctl show {PARENT}`" in (refusal("busy", parent_call_sid=PARENT).hint or "")


def test_callbacks_that_reported_the_end_are_believed_before_rest() -> None:
    assert "it is completed" in refusal("in-progress", reported=leg(("completed", 2))).message


def test_with_the_end_reported_by_callbacks_nothing_waits_for_rest_to_show_it() -> None:
    api = FakeApi(redirects=[wrong_state()], fetches=[call("in-progress")])
    with pytest.raises(WrongCallStateError, match="it is completed"):
        redirected(api, reported=leg(("in-progress", 30), ("completed", 2)))
    assert api.requests == ["redirect", "fetch"]


TALKED_AN_HOUR_AGO = leg(("in-progress", 3600))
JUST_OVER, OVER = (leg(("in-progress", 30), ("completed", ago)) for ago in (1, 8))


@pytest.mark.parametrize(
    ("answer", "reported", "was_over"),
    [
        (call("in-progress"), [OVER], True),  # REST is behind the callback, and takes the form
        (call("in-progress"), [JUST_OVER], True),
        (call("completed", as_of=NOW, end_time=NOW - timedelta(seconds=8)), [None], True),
        (call("completed", as_of=NOW, end_time=NOW), [None], False),  # the document may have ended it
        (call("completed"), [None], False),
        (call("no-answer"), [None], True),
        (call("in-progress", as_of=NOW), [TALKED_AN_HOUR_AGO, OVER], True),  # that of the end was late
        (call("in-progress", as_of=NOW), [TALKED_AN_HOUR_AGO, JUST_OVER], False),
        (call("in-progress"), [TALKED_AN_HOUR_AGO, OVER], False),
        (call(""), [None], False),  # a success that can't be read
        (call(""), [OVER], True),
    ],
)
def test_a_redirect_that_the_api_takes_for_a_call_that_was_over_is_none(
    answer: Call, reported: list[Leg | None], was_over: bool
) -> None:
    """Only what was over before for certain counts: a redirect that was carried out is never denied."""
    legs = list(reported)
    api = FakeApi(redirects=[answer])
    clock = Clock(wall=lambda: NOW, elapsed=lambda: 0.0)
    taken = send_redirect(api, SID, SURVEY, reported=lambda: legs.pop(0) if len(legs) > 1 else legs[0], clock=clock)
    assert taken.was_over is was_over
    if len(reported) == 1 and was_over:
        with pytest.raises(NotInProgressError, match=r"can't be redirected: it is .*, though the API took") as caught:
            redirected(api, reported=reported[0])
        assert not caught.value.may_be_done


def test_what_is_not_verified_says_nothing_of_an_end() -> None:
    forged = replace(OVER, verified=False)
    assert redirected(FakeApi(redirects=[call("in-progress")]), reported=forged).status == "in-progress"


def test_while_callbacks_say_in_progress_it_is_tried_again() -> None:
    time, api = Time(), FakeApi(redirects=[wrong_state(), wrong_state(), call("in-progress")])
    assert redirected(api, reported=leg(("in-progress", 0.2)), time=time).status == "in-progress"
    assert api.requests == ["redirect"] * 3


def test_it_is_tried_for_two_seconds_at_most() -> None:
    time, api = Time(), FakeApi(redirects=[wrong_state()], fetches=[call("ringing")])
    with pytest.raises(WrongCallStateError, match="not in progress, though callbacks reported that it is, since"):
        redirected(api, reported=leg(("in-progress", 0.2)), time=time)
    assert time.now == pytest.approx(2.0)


def test_a_call_that_rest_still_shows_as_in_progress_is_not_said_to_be() -> None:
    error = refusal("in-progress")
    assert error.message == (
        f"{SID} can't be redirected: Twilio says that it is not in progress, though REST still shows it as in-progress"
    )
    assert f"see `callctl show {SID}`;" in (error.hint or "")


def test_rest_gets_two_seconds_to_show_the_end() -> None:
    time, api = Time(), FakeApi(redirects=[wrong_state()], fetches=[call("in-progress"), call("completed")])
    with pytest.raises(WrongCallStateError, match="it is completed"):
        redirected(api, time=time)
    assert api.requests == ["redirect", "fetch", "fetch"]


def test_when_no_callback_reported_it_it_is_not_tried_again() -> None:
    api = FakeApi(redirects=[wrong_state()], fetches=[call("ringing")])
    with pytest.raises(WrongCallStateError):
        redirected(api)
    assert api.requests == ["redirect", "fetch"]


def test_the_refusal_stands_when_the_call_cannot_be_asked_for() -> None:
    with pytest.raises(WrongCallStateError, match="not in-progress"):
        redirected(FakeApi(redirects=[wrong_state()], fetches=[NetworkError("gone")]))


def test_the_child_of_a_redirected_parent_drops() -> None:
    (other,) = preview(CallAndChildren(call("in-progress"), (call("ringing", PARENT, to="client:ann"),)), known=Known())
    assert (other.sid, other.relation) == (PARENT, "child")
    assert other.effect == "ringing client:ann: drops, and the Dial's action, if it has one, is requested as well"


def test_the_parent_of_a_redirected_child_goes_on() -> None:
    child = call("in-progress", parent_call_sid=PARENT)
    (other,) = preview(CallAndChildren(child, (), is_parent_live=True), known=Known())
    assert (other.sid, other.relation) == (PARENT, "parent")
    assert other.effect == "goes on with the Dial's action, else with its next verb, else hangs up"
    # A child that left the Dial by itself may have outlived it.
    (unknown,) = preview(CallAndChildren(child, ()), known=Known())
    assert unknown.effect == f"if it is live, {other.effect}"


@pytest.mark.parametrize(
    ("action", "effect"),
    [
        ("survey", "goes on with the Dial's action, survey"),
        ("", "hangs up: its Dial has no action, and no verb behind it"),
    ],
)
def test_where_a_parent_goes_is_said_where_it_is_known(action: str, effect: str) -> None:
    known = Known(actions={PARENT: action})
    child = call("in-progress", parent_call_sid=PARENT)
    (other,) = preview(CallAndChildren(child, (), is_parent_live=True), known=known)
    assert (other.effect, other.goes_on) == (effect, bool(action))


def test_a_single_leg_has_no_other() -> None:
    assert preview(CallAndChildren(call("in-progress"), ()), known=Known()) == []


def test_a_child_that_was_redirected_out_of_the_dial_goes_on_and_so_does_its_parent() -> None:
    child = call("in-progress", "CA3", parent_call_sid=SID)
    bridged = call("in-progress", "CA4", parent_call_sid=SID, to="client:ann")
    known = Known({"CA3": NOW})
    others = preview(CallAndChildren(call("in-progress"), (child, bridged)), known=known)
    assert [other.effect for other in others] == [
        f"goes on: it was redirected out of the Dial at {time_of_day(NOW)}",
        "talking to client:ann: drops, and the Dial's action, if it has one, is requested as well",
    ]
    (parent,) = preview(CallAndChildren(child, (), is_parent_live=True), known=known)
    assert parent.effect == f"goes on: this leg was redirected out of its Dial at {time_of_day(NOW)}"


def test_nothing_becomes_of_another_leg_where_the_call_or_its_parent_is_over() -> None:
    child = call("in-progress", "CA3", parent_call_sid=SID)
    assert preview(CallAndChildren(call("completed"), (child,)), known=Known({"CA3": NOW})) == []
    assert preview(CallAndChildren(child, (), is_parent_over=True), known=Known()) == []


LEFT = ("CA3", "CA4", "CA5")


def child(sid: str, status: str = "in-progress") -> Call:
    return call(status, sid, parent_call_sid=PARENT)


def conversation(
    *children: Call,
    named: tuple[str, ...] = (PARENT,),
    left: tuple[str, ...] = (),
    events: tuple[CallEvent, ...] = (),
    is_listed: bool = True,
) -> Conversation:
    """Return who talk, where a parent dialled these children, some of which have left the Dial."""
    parent = call("in-progress", PARENT)
    others = {one.sid: one for one in children}
    fetches: list[Answer] = [parent] if named[0] == PARENT else [others[named[0]], parent]
    api = FakeApi(fetches=fetches, listed=[*children] if is_listed else [])
    known, reported = Known(dict.fromkeys(left, NOW)), Reported(events)
    return conversation_of(api, named[0], named=named, known=known, reported=reported)


def moved(talking: Conversation) -> list[str]:
    assert talking.parent.sid == PARENT
    return [one.sid for one in talking.children]


def test_a_child_that_left_the_dial_stays_where_it_is() -> None:
    talking = conversation(child("CA3"), child("CA4"), left=("CA3",))
    assert (moved(talking), talking.staying) == (["CA4"], {"CA3": NOW})


def test_a_child_that_left_the_dial_goes_along_if_it_is_named_or_the_only_one() -> None:
    named = conversation(child("CA3"), child("CA4"), child("CA5"), named=("CA3",), left=("CA3", "CA5"))
    assert (moved(named), named.staying) == (["CA3", "CA4"], {"CA5": NOW})
    both = conversation(child("CA3"), child("CA4"), named=("CA4", "CA3"), left=("CA3",))
    assert (moved(both), both.staying) == (["CA3", "CA4"], {})
    only = conversation(child("CA3"), left=("CA3",))
    assert (moved(only), only.staying, only.left) == (["CA3"], {}, {"CA3": NOW})


def test_a_child_in_the_conference_of_its_parent_talks_to_it() -> None:
    legs = [event(PARENT, "in-progress", at=1), *(event(sid, "in-progress", at=1, parent=PARENT) for sid in LEFT)]
    rooms = [in_conference(sid, room, second=2) for sid, room in ((PARENT, "a"), ("CA3", "a"), ("CA4", "b"))]
    talking = conversation(*map(child, LEFT), left=LEFT, events=(*legs, *rooms))
    assert (moved(talking), list(talking.staying)) == (["CA3"], ["CA4", "CA5"])


def test_of_several_that_left_the_dial_none_is_chosen() -> None:
    with pytest.raises(UnknownCallError, match="talks to nobody by a <Dial>: its child legs CA3, CA4, CA5 were"):
        conversation(*map(child, LEFT), left=LEFT)


def test_while_the_dial_rings_another_leg_the_one_that_left_it_is_not_moved_instead() -> None:
    with pytest.raises(NotInProgressError, match="talks to nobody yet: its child leg CA4 is ringing"):
        conversation(child("CA3"), child("CA4", "ringing"), left=("CA3",))


def test_the_leg_that_is_named_counts_where_no_list_has_it() -> None:
    assert moved(conversation(child("CA3"), named=("CA3",), is_listed=False)) == ["CA3"]


@pytest.mark.parametrize(
    ("direction", "words"),
    [
        ("inbound", "the phone of the caller, +12025550101"),
        ("outbound-api", "the phone that was called, +12025550100 (outbound-api)"),
        ("outbound-dial", "the phone that <Dial> called, +12025550100 (outbound-dial)"),
        ("", "the phone that was called, +12025550100 (direction unknown)"),
    ],
)
def test_whose_phone_a_leg_is(direction: str, words: str) -> None:
    assert whose_phone(call("in-progress", direction=direction, from_="+12025550101", to="+12025550100")) == words


@pytest.mark.parametrize(
    ("steps", "end", "known"),
    [
        ([("ringing", 31)], "canceled", ("ringing", 31)),
        ([("ringing", 31), ("in-progress", 20)], "completed", ("in-progress", 20)),
        ([("ringing", 31), ("canceled", 1)], "canceled", ("ringing", 30)),
        ([("initiated", 31)], "canceled", None),
        ([("ringing", 31)], "completed", None),  # the answer was not reported, so its time is not known
        ([("in-progress", 20)], "canceled", None),
        ([("ringing", 31)], "busy", None),
    ],
)
def test_what_a_call_did_before_is_said_only_when_it_is_known(
    steps: list[tuple[str, float]], end: str, known: tuple[str, float] | None
) -> None:
    assert seconds_before_end(leg(*steps), Call(SID, end), now=NOW) == known
