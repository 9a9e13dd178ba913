"""Whether this machine's clock is wrong, by when callbacks and REST's replies come."""

from __future__ import annotations

import pytest
from events import clock_of, moment, sid
from hypothesis import given
from hypothesis import strategies as st

from callctl.watch.listener.clock_check import WATCHED, ClockCheck, ClockOffset

MINUTE = WATCHED.total_seconds()


def reports(*came: tuple[str, float, float], check: ClockCheck | None = None) -> list[str]:
    """Return what is said of things that came; each with who sent it, when by this clock, and how long before."""
    check = check or ClockCheck()
    said = [check.add(sender, moment(now - delay), now=moment(now)) for sender, now, delay in came]
    return [text for text in said if text is not None]


def calls(delay: float, *, seconds: float = MINUTE, of: int = 5) -> list[tuple[str, float, float]]:
    """Return so many callbacks over a time, each of another call."""
    return [(sid(number), seconds * number / (of - 1), delay) for number in range(of)]


@pytest.mark.parametrize("behind", [4, 3600, 18000])
def test_a_clock_that_is_behind_is_reported_at_the_second_call_and_once(behind: int) -> None:
    (said,) = reports((sid(1), 0, -behind - 1), (sid(2), 0, -behind), (sid(3), 0, -behind - 5))
    assert said.startswith(f"this machine's clock is about {behind} s behind Twilio's. ")


@pytest.mark.parametrize("ahead", [4, 3600, 18000])
def test_a_clock_that_is_ahead_is_reported_after_a_minute_in_which_no_callback_took_less_and_once(ahead: int) -> None:
    (said,) = reports(*calls(ahead), *calls(ahead))
    assert said.startswith(
        f"this machine's clock is probably about {ahead} s ahead of Twilio's: for a minute no callback took less. "
    )


@pytest.mark.parametrize(
    "came",
    [
        [(sid(1), 0, -3600), (sid(1), 1, -3600), (sid(1), 99, -3600)],  # one call's times alone may be wrong
        calls(60, seconds=MINUTE - 1),  # all of them waited, as while the process was stopped
        calls(60, of=2),
        [*calls(60), (sid(7), 0, 1)][::-1],  # one shows that the others took long
        [("", 1, 1), *calls(60)],  # and so does REST
        calls(-2),
        calls(3),
    ],
)
def test_what_may_have_another_reason_is_not_reported(came: list[tuple[str, float, float]]) -> None:
    assert reports(*came) == []


@given(st.lists(st.tuples(st.sampled_from(["", *map(sid, range(9))]), st.floats(0, 60), st.floats(0, 900))))
def test_a_clock_that_is_right_is_not_behind_whatever_takes_long(came: list[tuple[str, float, float]]) -> None:
    said = reports(*sorted(came, key=lambda one: one[1]))
    assert not any("behind" in text for text in said)


def test_after_the_clock_was_set_it_is_compared_anew() -> None:
    check = ClockCheck(whose="the API's")
    assert reports((sid(1), 0, -60), (sid(2), 0, -60), check=check) != []
    check.restart()
    assert reports((sid(1), 0, -60), check=check) == []
    (said,) = reports((sid(2), 0, -60), check=check)
    assert "about 60 s behind the API's" in said


def test_a_minute_is_looked_at_after_the_other() -> None:
    check = ClockCheck()
    assert reports(*calls(1), check=check) == []
    later = [(sender, now + 2 * MINUTE, delay) for sender, now, delay in calls(60)]
    (said,) = reports(*later, check=check)
    assert "60 s ahead" in said


def offset(*came: tuple[str, float]) -> float:
    """Return the offset after callbacks, or replies of REST without a SID, that took so many seconds."""
    now = 1000.0
    result = ClockOffset(clock_of(lambda: moment(now)))
    for sender, delay in came:
        now += 10
        if sender:
            result.add_callback(sender, moment(now - delay), received_at=moment(now))
        else:
            result.add_reply(moment(now - delay))
    return result.ahead.total_seconds()


@pytest.mark.parametrize(
    ("came", "ahead"),
    [
        ([], 0),
        ([(sid(1), 3), (sid(2), 40)], 0),
        ([(sid(1), 40)], 40),  # in doubt calls are younger
        ([(sid(1), 40), ("", 1)], 40),
        ([(sid(1), 602), (sid(2), 640), ("", 601)], 602),
        ([("", 601)], 601),
        ([("", -120)], -120),
        ([("", -600), (sid(1), 1), ("", -600)], 0),  # a Date that is ahead may be a proxy's own
        ([("", 600), (sid(1), 1)], 0),
        ([(sid(1), 1), (sid(1), -3600)], 0),  # one call's times alone may be wrong
        ([(sid(1), -119), (sid(2), -118)], -119),
    ],
)
def test_the_clock_is_off_by_the_least_delay_if_that_is_more_than_a_way(
    came: list[tuple[str, float]], ahead: float
) -> None:
    assert offset(*came) == ahead
