"""A rule: each condition, as a rules file writes it, with a leg that matches and one that does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from events import event, event_of, form, sid
from hypothesis import example, given
from hypothesis import strategies as st
from legs import board_of

from callctl.calls.leg import Leg
from callctl.rules.file import load
from callctl.rules.rule import Cancel, Hangup, On, Rule, When
from callctl.settings import NamedUrl

Fields = dict[str, str]
CHILD = {"ParentCallSid": sid(9)}
LIVE = 'when = "answered"\nthen = "hangup"\n'
END = 'then = "hangup"\non = "parent"\n'

CONDITIONS: list[tuple[str, Fields, Fields]] = [
    ('when = "ringing"\nthen = "cancel"', {"CallStatus": "ringing"}, {"CallStatus": "initiated"}),
    ('when = ["queued", "ringing"]\nthen = "cancel"', {"CallStatus": "queued"}, {"CallStatus": "in-progress"}),
    ('when = "answered"\nthen = "hangup"', {"CallStatus": "in-progress"}, {"CallStatus": "ringing"}),
    ('when.event = "answered"\nthen = "hangup"', {"CallStatus": "in-progress"}, {"CallStatus": "completed"}),
    ('when.event = "initiated"\nthen = "cancel"', {"CallStatus": "initiated"}, {"CallStatus": "queued"}),
    (f'when.status = "completed"\n{END}', {"CallStatus": "completed"}, {"CallStatus": "busy"}),
    (f'when.event = "completed"\n{END}', {"CallStatus": "busy"}, {"CallStatus": "in-progress"}),
    (f'when = ["busy", "no-answer"]\n{END}', {"CallStatus": "no-answer"}, {"CallStatus": "completed"}),
    (f'{LIVE}leg = "child"', CHILD, {}),
    (f'{LIVE}leg = "parent"', {}, CHILD),
    (f'{LIVE}answered_by = "human"', {"AnsweredBy": "human"}, {"AnsweredBy": "machine_start"}),
    (f'{LIVE}answered_by = ["machine_start", "fax"]', {"AnsweredBy": "fax"}, {}),
    (f'{LIVE}direction = "inbound"', {"Direction": "inbound"}, {"Direction": "outbound-api"}),
    (f'{LIVE}direction = ["outbound-api", "outbound-dial"]', {"Direction": "outbound-dial"}, {"Direction": "inbound"}),
    (f'{LIVE}from = "+12025550142"', {"From": "+12025550142"}, {"From": "+120255501420"}),
    (f'{LIVE}from = "+12025550142"', {"From": "+12025550142", "To": "x"}, {"From": "x", "To": "+12025550142"}),
    (f'{LIVE}from = "sip:*@example.com"', {"From": "sip:Ann@Example.com"}, {"From": "sip:ann@example.org"}),
    (f'{LIVE}to = "+12025550142"', {"To": "+12025550142"}, {"To": "12025550142"}),
    (f'{LIVE}to = "+1202*"', {"To": "+12025550142"}, {"To": "+15005550006"}),
    (f'{LIVE}to = "*0142"', {"To": "+12025550142"}, {"To": "+12025550143"}),
    (f'{LIVE}to = "+1*0142"', {"To": "+12025550142"}, {"To": "+12025550142;ext=1"}),
    (f'{LIVE}to = "sip:a@example.com"', {"To": "sip:a@example.com"}, {"To": "sip:a@example-com"}),
    (f'{LIVE}to = "sip:*@example.com"', {"To": "sip:a\nb@example.com"}, {"To": "sip:a\nb@example.org"}),
]
# One rule that asks for everything, and what may be wrong with a leg for it.
ALL = f'{LIVE}leg = "child"\nanswered_by = "human"\ndirection = "outbound-dial"\nfrom = "+1500*"\nto = "sip:*"'
FITS_ALL = {**CHILD, "AnsweredBy": "human", "Direction": "outbound-dial", "To": "sip:ann@example.com"}


def leg_of(fields: Fields) -> Leg:
    """Return the leg that one callback reports: in progress and without a parent, unless its fields say otherwise."""
    reported = event_of(form(1, "in-progress", at=1) | fields, verified=False)  # signed, not all would be in one way
    leg = board_of([reported]).snapshot().leg(sid(1))
    assert leg is not None
    return leg


def condition(folder: Path, text: str) -> When:
    path = folder / "rules.toml"
    path.write_text(f"[rule.mine]\n{text}\n")
    (rule,) = load(path, resolve=lambda name: NamedUrl(name, None), cancel=Cancel())
    return rule.when


@pytest.mark.parametrize(("text", "fits", "does_not"), CONDITIONS)
def test_a_condition_fits_one_leg_and_not_another(tmp_path: Path, text: str, fits: Fields, does_not: Fields) -> None:
    when = condition(tmp_path, text)
    assert when.matches(leg_of(fits))
    assert not when.matches(leg_of(does_not))


@pytest.mark.parametrize(
    "wrong",
    [
        {"CallStatus": "ringing"},
        {"ParentCallSid": ""},
        {"AnsweredBy": "unknown"},
        {"Direction": "inbound"},
        {"From": "+12025550142"},
        {"To": "client:ann"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_all_conditions_must_hold_together(tmp_path: Path, wrong: Fields) -> None:
    when = condition(tmp_path, ALL)
    assert when.matches(leg_of(FITS_ALL))
    assert not when.matches(leg_of(FITS_ALL | wrong))


def written_as(pattern: str, party: str) -> bool:
    """Return whether a party is written as a pattern has it, by the plainest expression for that."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, party, re.IGNORECASE | re.DOTALL) is not None


# Characters that stand for themselves in any case, that have several forms, and that mean something in an expression.
CHARACTERS = "abAB.\n@sS\u017fiI\u0131\u0130kK\u212aß\u1e9e"


@given(st.text(f"**{CHARACTERS}", max_size=9), st.text(f"*{CHARACTERS}", max_size=12))
@example("*", "")
@example("**", "a")
@example("a*a", "a")
@example("*a*ab", "aab")
@example("a*b*b", "ab")
@example("*.*", "a")
def test_a_star_stands_for_any_text_and_case_makes_no_difference(pattern: str, party: str) -> None:
    when = When(statuses=frozenset({"in-progress"}), from_=pattern)
    assert when.matches(leg_of({"From": party})) == written_as(pattern, leg_of({"From": party}).from_)


@given(st.lists(st.text(CHARACTERS, max_size=4), min_size=1, max_size=5), st.text(CHARACTERS, max_size=4))
def test_a_party_fits_a_pattern_that_it_was_made_from(parts: list[str], text: str) -> None:
    when = When(statuses=frozenset({"in-progress"}), to="*".join(parts))
    assert when.matches(leg_of({"To": text.join(parts)}))


@pytest.mark.timeout(60, method="signal")  # a thread would not run: a regular expression lets none
def test_many_stars_and_a_long_address_that_a_caller_chose_are_decided_at_once() -> None:
    when = When(statuses=frozenset({"in-progress"}), from_="sip:" + "*a" * 40 + "*b")
    assert not when.matches(leg_of({"From": "sip:" + "a" * 5000}))
    assert when.matches(leg_of({"From": "sip:" + "a" * 5000 + "b"}))
    assert not when.matches(leg_of({"From": "sip:" + "a" * 39 + "b"}))


def test_a_leg_was_answered_if_it_was_in_progress_or_completed() -> None:
    ended = frozenset({"completed", "busy", "failed"})
    when = When(statuses=ended, was_answered=True)
    assert when.matches(leg_of({"CallStatus": "completed"}))
    assert not when.matches(leg_of({"CallStatus": "busy"}))
    events = [event(1, "in-progress", at=1), event(1, "failed", at=2)]
    failed = board_of(events).snapshot().leg(sid(1))
    assert failed is not None
    assert when.matches(failed)
    assert not when.matches(leg_of({"CallStatus": "failed"}))


def test_answered_by_is_what_the_asynchronous_detection_reported(tmp_path: Path) -> None:
    when = condition(tmp_path, f'{LIVE}answered_by = "machine_start"')
    answered = event(1, "in-progress", at=1)
    detected = event_of(
        {"CallSid": sid(1), "AnsweredBy": "machine_start", "MachineDetectionDuration": "3400"}, received=4
    )
    before, after = (board_of(events).snapshot().leg(sid(1)) for events in ([answered], [answered, detected]))
    assert before is not None
    assert after is not None
    assert (when.matches(before), when.matches(after)) == (False, True)


ALL_RINGING = frozenset({"queued", "initiated", "ringing"})


@pytest.mark.parametrize("status", sorted(ALL_RINGING - {"queued"}))
def test_a_leg_that_a_callback_calls_initiated_rest_may_show_as_queued_or_ringing(status: str) -> None:
    for on in On:
        rule = Rule(name="r", when=When(statuses=frozenset({status})), then=Hangup(), on=on)
        assert rule.matching_statuses == ALL_RINGING
    assert Rule(name="r", when=When(statuses=frozenset({status})), then=Hangup()).target_statuses == ALL_RINGING


@pytest.mark.parametrize("statuses", [{"queued"}, {"in-progress"}, {"queued", "in-progress"}])
def test_one_that_rings_is_none_that_is_queued_or_in_progress(statuses: set[str]) -> None:
    rule = Rule(name="r", when=When(statuses=frozenset(statuses)), then=Hangup())
    assert rule.matching_statuses == rule.target_statuses == statuses
