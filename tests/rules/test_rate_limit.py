from telling import moment

from callctl.rules import Brake, Turn


def turns(brake: Brake, *, every: float, count: int) -> list[Turn]:
    return [brake.turn(moment(number * every)) for number in range(count)]


def test_ten_in_a_second_go_and_more_wait_their_turn() -> None:
    brake = Brake()
    assert turns(brake, every=0, count=12) == [Turn.GO] * 10 + [Turn.WAIT] * 2
    assert brake.turn(moment(0.999)) is Turn.WAIT
    assert brake.turn(moment(1.0)) is Turn.GO


def test_after_a_hundred_in_a_minute_nothing_goes_for_good() -> None:
    brake = Brake()
    assert turns(brake, every=0.5, count=101) == [Turn.GO] * 100 + [Turn.STOP]
    assert brake.turn(moment(86400)) is Turn.STOP
    assert brake.is_pulled


def test_a_hundred_in_more_than_a_minute_are_fine() -> None:
    assert set(turns(Brake(), every=0.61, count=2000)) == {Turn.GO}


def test_a_turn_that_was_not_used_counts_for_nothing() -> None:
    brake = Brake(per_second=1, per_minute=2)
    for _ in range(100):
        assert brake.turn(moment(0)) is Turn.GO
        brake.give_back()
    assert turns(brake, every=1, count=3) == [Turn.GO, Turn.GO, Turn.STOP]


def test_the_limit_may_be_chosen() -> None:
    assert turns(Brake(per_minute=2), every=1, count=3) == [Turn.GO, Turn.GO, Turn.STOP]


def test_the_second_is_the_latest_one_and_not_that_since_the_first_of_the_minute() -> None:
    brake = Brake(per_second=2)
    assert [brake.turn(moment(at)) for at in (0, 30, 30.5, 30.9)] == [Turn.GO, Turn.GO, Turn.GO, Turn.WAIT]
    assert [brake.turn(moment(at)) for at in (30.999, 31.0, 31.4)] == [Turn.WAIT, Turn.GO, Turn.WAIT]


def test_an_action_of_a_minute_ago_counts_no_longer() -> None:
    brake = Brake(per_minute=2)
    assert [brake.turn(moment(at)) for at in (0, 59, 60)] == [Turn.GO] * 3
    assert brake.turn(moment(118.999)) is Turn.STOP
