from events import moment

from callctl.rules.rate_limit import Admission, RateLimit


def turns(limit: RateLimit, *, every: float, count: int) -> list[Admission]:
    return [limit.admit(moment(number * every)) for number in range(count)]


def test_ten_in_a_second_go_and_more_wait_their_turn() -> None:
    limit = RateLimit()
    assert turns(limit, every=0, count=12) == [Admission.ALLOWED] * 10 + [Admission.WAIT] * 2
    assert limit.admit(moment(0.999)) is Admission.WAIT
    assert limit.admit(moment(1.0)) is Admission.ALLOWED


def test_after_a_hundred_in_a_minute_nothing_goes_for_good() -> None:
    limit = RateLimit()
    assert turns(limit, every=0.5, count=101) == [Admission.ALLOWED] * 100 + [Admission.STOPPED]
    assert limit.admit(moment(86400)) is Admission.STOPPED
    assert limit.is_exceeded


def test_a_hundred_in_more_than_a_minute_are_fine() -> None:
    assert set(turns(RateLimit(), every=0.61, count=2000)) == {Admission.ALLOWED}


def test_a_turn_that_was_not_used_counts_for_nothing() -> None:
    limit = RateLimit(per_second=1, per_minute=2)
    for _ in range(100):
        assert limit.admit(moment(0)) is Admission.ALLOWED
        limit.refund()
    assert turns(limit, every=1, count=3) == [Admission.ALLOWED, Admission.ALLOWED, Admission.STOPPED]


def test_the_limit_may_be_chosen() -> None:
    assert turns(RateLimit(per_minute=2), every=1, count=3) == [Admission.ALLOWED, Admission.ALLOWED, Admission.STOPPED]


def test_the_second_is_the_latest_one_and_not_that_since_the_first_of_the_minute() -> None:
    limit = RateLimit(per_second=2)
    assert [limit.admit(moment(at)) for at in (0, 30, 30.5, 30.9)] == [
        Admission.ALLOWED,
        Admission.ALLOWED,
        Admission.ALLOWED,
        Admission.WAIT,
    ]
    assert [limit.admit(moment(at)) for at in (30.999, 31.0, 31.4)] == [
        Admission.WAIT,
        Admission.ALLOWED,
        Admission.WAIT,
    ]


def test_an_action_of_a_minute_ago_counts_no_longer() -> None:
    limit = RateLimit(per_minute=2)
    assert [limit.admit(moment(at)) for at in (0, 59, 60)] == [Admission.ALLOWED] * 3
    assert limit.admit(moment(118.999)) is Admission.STOPPED
