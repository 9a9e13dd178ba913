"""What needs a person, and what is an outcome like any other."""

from __future__ import annotations

import pytest
from events import START, moment, sid
from legs import board_of, callback

from callctl.calls.action import DECLINED, DONE, DRY_RUN, LATE, NOT_ENDED, REFUSED, UNKNOWN, ActionEvent
from callctl.views.live.attention import Failure, failed_action, failed_end


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("failed", None, "failed"),
        ("failed", "404", "failed"),
        ("failed", "503", "failed"),
        ("failed", "603", "failed"),
        ("completed", "500", "SIP 500"),
        ("completed", "699", "SIP 699"),
        ("completed", "603", None),
        ("completed", "200", None),
        ("completed", "404", None),
        ("completed", None, None),
        ("completed", "5xx", None),
        ("completed", "5030", None),
        ("busy", "486", None),
        ("busy", "600", None),
        ("busy", "603", None),
        ("no-answer", "480", None),
        ("no-answer", "504", None),
        ("canceled", "487", None),
        ("canceled", "503", None),
        ("ringing", "503", None),
        ("in-progress", "503", None),
        ("a-new-status", "503", None),
    ],
)
def test_which_ends_are_failures(status: str, code: str | None, words: str | None) -> None:
    more = {} if code is None else {"SipResponseCode": code}
    leg = board_of([callback(sid(1), status, second=7, sequence=1, **more)]).snapshot().leg(sid(1))
    assert leg is not None
    assert failed_end(leg) == (None if words is None else Failure(moment(7), words))


@pytest.mark.parametrize(
    ("action", "result", "words"),
    [
        ("hangup", REFUSED, "hangup refused"),
        ("redirect", REFUSED, "redirect refused"),
        ("hangup", NOT_ENDED, "hangup not ended"),
        ("cancel", UNKNOWN, "cancel outcome unknown"),
        ("limit", REFUSED, "limit refused"),
        ("hangup", DONE, None),
        ("hangup", LATE, None),
        ("hangup", DECLINED, None),
        ("hangup", DRY_RUN, None),
    ],
)
@pytest.mark.parametrize("rule", [None, "patience"])
def test_which_actions_have_failed(action: str, result: str, words: str | None, rule: str | None) -> None:
    event = ActionEvent(START, sid(1), action, (), "what came of it", rule=rule, result=result)
    assert failed_action(event) == (None if words is None else Failure(START, words))
