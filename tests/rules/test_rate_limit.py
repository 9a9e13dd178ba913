from itertools import count as numbers

from events import moment

from callctl.rules.rate_limit import Admission, RateLimit

KEYS = numbers()


def turn(limit: RateLimit, at: float) -> Admission:
    """Let one action begin, if it may, and end: something was sent."""
    key = next(KEYS)
    admission = limit.admit(moment(at), key)
    limit.decide(key)
    return admission


def turns(limit: RateLimit, *, every: float, count: int) -> list[Admission]:
    return [turn(limit, number * every) for number in range(count)]


def test_ten_in_a_second_go_and_more_wait_their_turn() -> None:
    limit = RateLimit()
    assert turns(limit, every=0, count=12) == [Admission.ALLOWED] * 10 + [Admission.WAIT] * 2
    assert turn(limit, 0.999) is Admission.WAIT
    assert turn(limit, 1.0) is Admission.ALLOWED


def test_after_a_hundred_in_a_minute_nothing_goes_for_good() -> None:
    limit = RateLimit()
    assert turns(limit, every=0.5, count=101) == [Admission.ALLOWED] * 100 + [Admission.STOPPED]
    assert turn(limit, 86400) is Admission.STOPPED
    assert limit.is_exceeded


def test_a_hundred_in_more_than_a_minute_are_fine() -> None:
    assert set(turns(RateLimit(), every=0.61, count=2000)) == {Admission.ALLOWED}


def test_what_was_not_sent_counts_for_nothing_in_the_minute_and_has_its_turn_in_the_second() -> None:
    limit = RateLimit(per_second=1, per_minute=2)
    for number in range(50):
        assert limit.admit(moment(number), "unsent") is Admission.ALLOWED
        limit.refund("unsent")
        assert limit.admit(moment(number + 0.9), "unsent") is Admission.WAIT
    assert [turn(limit, at) for at in (50, 51, 52)] == [Admission.ALLOWED, Admission.ALLOWED, Admission.STOPPED]


def test_one_more_waits_for_those_that_may_turn_out_not_to_count() -> None:
    limit = RateLimit(per_minute=2)
    assert [limit.admit(moment(0), key) for key in "abc"] == [Admission.ALLOWED, Admission.ALLOWED, Admission.WAIT]
    limit.decide("a")
    assert limit.admit(moment(1), "c") is Admission.WAIT
    limit.refund("b")
    assert limit.admit(moment(1), "c") is Admission.ALLOWED
    limit.decide("c")
    assert limit.admit(moment(2), "d") is Admission.STOPPED


def test_what_is_in_progress_for_longer_than_a_minute_lets_no_more_begin() -> None:
    limit = RateLimit(per_minute=2)
    assert limit.admit(moment(0), "hangs") is Admission.ALLOWED
    assert [turn(limit, at) for at in (61, 62, 63)] == [Admission.ALLOWED, Admission.ALLOWED, Admission.STOPPED]


def test_of_an_old_action_for_which_nothing_was_sent_no_newer_one_is_uncounted() -> None:
    limit = RateLimit(per_minute=2)
    assert limit.admit(moment(0), "old") is Admission.ALLOWED
    assert [turn(limit, at) for at in (61, 62)] == [Admission.ALLOWED] * 2
    limit.refund("old")
    assert turn(limit, 63) is Admission.STOPPED


def test_the_limit_may_be_chosen() -> None:
    assert turns(RateLimit(per_minute=2), every=1, count=3) == [Admission.ALLOWED, Admission.ALLOWED, Admission.STOPPED]


def test_the_second_is_the_latest_one_and_not_that_since_the_first_of_the_minute() -> None:
    limit = RateLimit(per_second=2)
    assert [turn(limit, at) for at in (0, 30, 30.5, 30.9)] == [
        Admission.ALLOWED,
        Admission.ALLOWED,
        Admission.ALLOWED,
        Admission.WAIT,
    ]
    assert [turn(limit, at) for at in (30.999, 31.0, 31.4)] == [
        Admission.WAIT,
        Admission.ALLOWED,
        Admission.WAIT,
    ]


def test_an_action_of_a_minute_ago_counts_no_longer() -> None:
    limit = RateLimit(per_minute=2)
    assert [turn(limit, at) for at in (0, 59, 60)] == [Admission.ALLOWED] * 3
    assert turn(limit, 118.999) is Admission.STOPPED
