"""The sequence diagram as data: whose arrows go where, and that all of it stands within the picture."""

from __future__ import annotations

from events import event_of, form, sid
from legs import in_conference

from callctl.reports.diagram import Diagram, diagram_of
from reports.evening import StoredCalls, dials, evening, rings_too_long, storm, talk


def test_there_is_a_lifeline_for_twilio_and_each_leg_and_one_for_callctl_where_it_acted() -> None:
    stored = StoredCalls()
    assert [lane.title for lane in diagram_of(stored.story(talk(stored, 0, 30))).lanes] == [
        "Twilio",
        "+12025550100",
    ]
    lanes = diagram_of(stored.story(dials(stored, 0))).lanes
    legs = ["+12025550100", "sip:agent@example.com", "client:ben"]
    assert [lane.title for lane in lanes] == ["callctl", "Twilio", *legs]


def test_arrows_go_from_who_did_it() -> None:
    stored = StoredCalls()
    shown = diagram_of(stored.story(rings_too_long(stored, 0)))
    callctl, twilio, leg = (lane.x for lane in shown.lanes)
    ends = [(arrow.label.words, _nearest(arrow.x1, shown), _nearest(arrow.x2, shown)) for arrow in shown.arrows]
    assert ends == [
        ("initiated", twilio, leg),
        ("ringing", twilio, leg),
        ("cancel: ended before it was answered", callctl, leg),
        ("canceled", twilio, leg),
    ]
    assert [arrow.kind for arrow in shown.arrows] == ["callback", "callback", "rule", "callback"]
    assert [arrow.below.words for arrow in shown.arrows] == ["", "", "by rule ring-limit", ""]


def test_an_answer_comes_from_the_leg_and_of_an_inbound_call_from_twilio() -> None:
    stored = StoredCalls()
    stored.leg(("ringing", 0), ("in-progress", 1), ("completed", 9), to="+15005550006", Direction="inbound")
    for event in stored.events:
        event.direction = "inbound"
    shown = diagram_of(stored.story(1))
    twilio, leg = (lane.x for lane in shown.lanes)
    assert [(arrow.label.words, _nearest(arrow.x1, shown)) for arrow in shown.arrows] == [
        ("ringing", leg),
        ("in-progress", twilio),
        ("completed", leg),
    ]
    stored = StoredCalls()
    shown = diagram_of(stored.story(talk(stored, 0, 30)))
    assert [_nearest(arrow.x1, shown) == shown.lanes[1].x for arrow in shown.arrows] == [False, False, True, True]


def test_pauses_are_shown_and_each_second_once() -> None:
    stored = StoredCalls()
    shown = diagram_of(stored.story(talk(stored, 0, 30)))
    assert [pause.words for pause in shown.pauses] == ["00:30 later"]
    assert [stamp.after for stamp in shown.stamps] == ["+00:00", "+00:02", "+00:32"]


def test_a_legs_life_is_drawn_status_by_status() -> None:
    stored = StoredCalls()
    shown = diagram_of(stored.story(talk(stored, 0, 30)))
    assert [bar.status for bar in shown.bars] == ["initiated", "ringing", "in-progress"]
    assert [(end.status, end.glyph) for end in shown.ends] == [("completed", "✓")]
    for before, after in zip(shown.bars, shown.bars[1:], strict=False):
        assert before.y + before.height == after.y


def test_a_status_that_twilio_does_not_document_has_a_look_of_its_own() -> None:
    stored = StoredCalls()
    stored.leg(("ringing", 0), ("lane step bad", 1), ("completed", 9), to="+12025550100")
    shown = diagram_of(stored.story(1))
    assert [(bar.status, bar.look) for bar in shown.bars] == [("ringing", "ringing"), ("lane step bad", "plain")]


def test_all_of_it_stands_within_the_picture() -> None:
    for story in evening().stories():
        shown = diagram_of(story)
        assert all(0 < arrow.y < shown.height for arrow in shown.arrows)
        assert all(0 < lane.x < shown.width for lane in shown.lanes)
        assert all(bar.y + bar.height <= shown.height for bar in shown.bars)


def test_of_a_long_story_the_first_and_the_last_steps_are_drawn() -> None:
    stored = StoredCalls()
    call = storm(stored, 0)
    for number in range(400):
        stored.act(call, "redirect", 10 + number / 10, "again")
    shown = diagram_of(stored.story(call))
    assert any("steps left out here" in pause.words for pause in shown.pauses)
    assert len(shown.arrows) == 160
    assert shown.arrows[-1].label.words.startswith("redirect: the call is not in progress")


def _nearest(x: float, shown: Diagram) -> float:
    return min((lane.x for lane in shown.lanes), key=lambda lane: abs(lane - x))


def test_a_request_for_twiml_goes_from_twilio_to_callctl_and_a_conference_is_a_dot_at_its_leg() -> None:
    stored = StoredCalls()
    call = talk(stored, 0, 30)
    asked = {name: value for name, value in form(call, "in-progress").items() if name != "CallbackSource"}
    stored.events.append(event_of(asked | {"ApiVersion": "2010-04-01"}, received=3))
    stored.events.append(in_conference(sid(call), "0" * 32, second=4))
    shown = diagram_of(stored.story(call))
    callctl, twilio, leg = (lane.x for lane in shown.lanes)
    (arrow,) = (arrow for arrow in shown.arrows if arrow.kind == "twiml-request")
    assert (_nearest(arrow.x1, shown), _nearest(arrow.x2, shown)) == (twilio, callctl)
    assert arrow.label.words == "requests TwiML"
    assert [(dot.x, dot.label.split(": ")[1].strip()) for dot in shown.dots] == [(leg, "participant-join")]
