"""Claims: once per rule and leg, across restarts and among watches that share a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from claims import claimed
from events import START, WORLD, event, moment, sid

from callctl.calls.action import ActionEvent
from callctl.errors import StoreError
from callctl.store.records import ActionLimit, OpenClaim, Refusal
from callctl.store.sqlite.store import SqliteStore

CLAIM = OpenClaim("after-dial", sid(1), sid(2), "redirect")
EVENT = ActionEvent(moment(5), sid(1), "redirect", (("Url", "https://example.com/"),), "redirected", rule="after-dial")
LEASE = moment(60)


def at(seconds: float) -> Callable[[OpenClaim], bool]:
    return lambda claim: claim.lease is not None and claim.lease <= moment(seconds)


@pytest.fixture
def claims(path: Path) -> Iterator[SqliteStore]:
    claims = SqliteStore.open(path, world=WORLD)
    yield claims
    claims.close()


def test_a_claim_is_given_once_also_to_another_watch(claims: SqliteStore, path: Path) -> None:
    assert claims.claim(CLAIM, now=moment(0), until=LEASE)
    other = SqliteStore.open(path, world=WORLD)
    assert not other.claim(CLAIM, now=moment(0), until=LEASE)
    assert other.claim_keys() == {("after-dial", sid(1))}
    other.close()


def test_of_many_who_claim_at_once_one_gets_it(path: Path) -> None:
    got: list[bool] = []

    def claim() -> None:
        mine = SqliteStore.open(path, world=WORLD)
        got.append(bool(mine.claim(CLAIM, now=moment(0), until=LEASE)))
        mine.close()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


def test_worlds_are_kept_apart(claims: SqliteStore, path: Path) -> None:
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    other = SqliteStore.open(path, world="other")
    assert other.claim_keys() == set()
    assert other.expired_claims(is_over=lambda _: True) == []
    assert other.action_in_progress(sid(1), other_than="another") is None
    other.renew(held, now=moment(0), until=moment(90))
    other.settle(held, EVENT)
    other.release(held)
    assert [one.lease for one in claims.expired_claims(is_over=lambda _: True)] == [LEASE]
    assert claims.all_actions(sid(1)) == []
    assert other.claim(CLAIM, now=moment(0), until=LEASE)
    other.close()


def test_a_claim_that_is_settled_is_not_opened_again_by_who_still_renews_it(claims: SqliteStore) -> None:
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    claims.settle(held, EVENT)
    claims.renew(held, now=moment(0), until=moment(90))
    assert claims.expired_claims(is_over=lambda _: True) == []


def test_an_open_claim_may_be_taken_over_once_its_lease_is_over(claims: SqliteStore) -> None:
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    assert claims.expired_claims(is_over=at(59)) == []
    claims.renew(held, now=moment(0), until=moment(90))
    assert claims.expired_claims(is_over=at(89)) == []
    (open_claim,) = claims.expired_claims(is_over=at(90))
    assert (open_claim, open_claim.lease) == (CLAIM, moment(90))
    assert claims.take_over(open_claim, now=moment(0), until=moment(200))
    assert not claims.take_over(open_claim, now=moment(0), until=moment(300))  # somebody else was first
    assert not claims.take_over(CLAIM, now=moment(0), until=moment(300))


def test_a_claim_that_is_renewed_after_it_was_read_stays_with_its_holder(claims: SqliteStore) -> None:
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    (read,) = claims.expired_claims(is_over=at(60))
    claims.renew(held, now=moment(0), until=moment(61))
    assert not claims.take_over(read, now=moment(0), until=moment(200))
    claims.settle(held, EVENT)
    assert not claims.take_over(read, now=moment(0), until=moment(200))


def test_a_settled_claim_stays_and_what_came_of_it_is_kept(claims: SqliteStore, path: Path) -> None:
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    claims.settle(held, EVENT)
    assert claims.expired_claims(is_over=lambda _: True) == []
    claims.renew(held, now=moment(0), until=LEASE)
    assert claims.expired_claims(is_over=lambda _: True) == []
    assert not claims.claim(CLAIM, now=moment(0), until=LEASE)
    assert claims.all_actions(sid(1)) == [EVENT]
    store = SqliteStore.open_for_watch(path, world=WORLD)
    assert store.actions(sid(1)) == [EVENT]
    store.close()


def test_a_claim_given_back_is_free(claims: SqliteStore) -> None:
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    claims.release(held)
    assert claims.claim(CLAIM, now=moment(0), until=LEASE)


def test_of_many_rules_that_claim_a_leg_for_themselves_alone_one_gets_it(path: Path) -> None:
    got: list[str] = []

    def claim(rule: str) -> None:
        mine = SqliteStore.open(path, world=WORLD)
        if mine.claim(OpenClaim(rule, sid(1), sid(2), "redirect"), now=moment(0), until=LEASE, exclusive=True):
            got.append(rule)
        mine.close()

    threads = [threading.Thread(target=claim, args=(f"rule-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_leg_is_free_for_another_rule_once_the_answer_is_recorded(claims: SqliteStore) -> None:
    other = OpenClaim("another", sid(1), sid(2), "redirect")
    claims.claim(OpenClaim("max-duration", sid(1), sid(1), "limit"), now=moment(0), until=LEASE)
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE, exclusive=True)  # a limit ends nothing by itself
    assert not claims.claim(other, now=moment(1), until=LEASE, exclusive=True)
    claims.settle(held, EVENT)
    assert not claims.claim(CLAIM, now=moment(1), until=LEASE, exclusive=True)
    assert claims.claim(other, now=moment(1), until=LEASE, exclusive=True)


def test_every_call_that_was_placed_is_remembered_and_dropped_when_old(claims: SqliteStore, store: SqliteStore) -> None:
    store.remember_placed(sid(1), at=moment(0))
    store.remember_placed(sid(2), at=moment(9))
    claims.claim(CLAIM, now=moment(0), until=LEASE)
    store.add_intents([sid(4)], now=moment(0), until=moment(4))
    assert [claims.was_placed(sid(number)) for number in (1, 2, 3)] == [True, True, False]
    store.delete_older_than(moment(5))
    assert not claims.was_placed(sid(1))
    assert claims.was_placed(sid(2))
    assert claims.claim_keys() == set()
    assert not claims.has_intent(sid(4), is_over=lambda _: False)  # its command was killed


def test_what_other_rules_are_changing_is_reported_until_the_answer_is_recorded(claims: SqliteStore) -> None:
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    claims.claim(OpenClaim("max-duration", sid(3), sid(3), "limit"), now=moment(0), until=LEASE)
    assert claims.action_in_progress(sid(1), other_than="another") == "redirect"
    assert claims.action_in_progress(sid(1), other_than=CLAIM.rule) is None
    assert claims.action_in_progress(sid(2), other_than="another") is None
    assert claims.action_in_progress(sid(3), other_than="another") is None  # it ends nothing by itself
    claims.settle(held, EVENT)
    assert claims.action_in_progress(sid(1), other_than="another") is None


def test_what_a_command_is_about_to_change_is_known_until_it_gives_up_or_is_late(
    claims: SqliteStore, store: SqliteStore
) -> None:
    assert store.add_intents([sid(1), sid(2)], now=moment(0), until=moment(60)) == set()
    assert store.add_intents([sid(2), sid(4)], now=moment(0), until=moment(90)) == {sid(2)}  # once more
    store.remove_intents([sid(1)])

    def changing(now: float) -> list[bool]:
        return [claims.has_intent(sid(call), is_over=lambda until: until <= moment(now)) for call in (1, 2, 3)]

    intents = [changing(now) for now in (0, 89, 90)]
    assert intents == [[False, True, False], [False, True, False], [False, False, False]]


def test_what_was_asked_of_a_call_ends_the_intent_to_ask_it(claims: SqliteStore, store: SqliteStore) -> None:
    store.add_intents([EVENT.call_sid, sid(2)], now=moment(0), until=moment(60))
    store.record_actions([EVENT])
    intents = [claims.has_intent(one, is_over=lambda _: False) for one in (EVENT.call_sid, sid(2))]
    assert intents == [False, True]


def test_where_the_dial_of_a_placed_call_sends_it_is_remembered(claims: SqliteStore, store: SqliteStore) -> None:
    store.remember_placed(sid(1), at=moment(0), dial_action="survey")
    store.remember_placed(sid(2), at=moment(0))
    assert [claims.dial_action(sid(number)) for number in (1, 2, 3)] == ["survey", None, None]


def test_a_claim_that_can_not_be_kept_is_an_error(path: Path) -> None:
    blocker = SqliteStore.open(path, world=WORLD)
    blocked = SqliteStore.open(path, world=WORLD, busy_timeout=0.05)
    with blocker._writing.transaction(), pytest.raises(StoreError, match="locked"):
        blocked.claim(CLAIM, now=moment(0), until=moment(0) + timedelta(seconds=1))
    blocker.close()
    blocked.close()


def test_what_was_asked_of_a_leg_is_not_taken_for_nothing_where_it_can_not_be_read(
    claims: SqliteStore, store: SqliteStore
) -> None:
    store.record_actions([ActionEvent(START, sid(number), "hangup", (), "done") for number in (1, 2)])
    with store._writing.transaction() as connection:
        connection.execute("UPDATE actions SET record = '[]' WHERE sid = ?", (sid(1),))
    with pytest.raises(StoreError, match="can't be read"):
        claims.all_actions(sid(1))
    assert len(claims.all_actions(sid(2))) == 1
    assert store.actions(sid(1)) == []


@pytest.mark.parametrize("time", [10**18, -(10**18), "'soon'"])
def test_an_absurd_time_in_one_row_hides_no_other(claims: SqliteStore, store: SqliteStore, time: object) -> None:
    for number in (1, 2):
        store.remember_placed(sid(number), at=START, callback="http://here")
        store.add_intents([sid(number)], now=moment(0), until=START)
        store.append(event(number, "ringing"))
        assert claims.claim(OpenClaim("rule", sid(number), sid(number), "hangup"), now=START, until=START)
    with store._writing.transaction() as connection:
        for column in ("placed_calls SET at", "intents SET until", "calls SET last_at", "claims SET lease"):
            connection.execute(f"UPDATE {column} = {time} WHERE sid = ?", (sid(1),))
    assert sid(2) in [one.call_sid for one in store.placed_since(START, callback="http://here")]
    assert {row.call_sid for row in store.live_calls()} == {sid(1), sid(2)}
    assert sid(2) in [one.call_sid for one in claims.expired_claims(is_over=lambda _: True)]
    assert claims.has_intent(sid(1), is_over=lambda _: False)


def test_who_was_overtaken_can_neither_renew_nor_settle_nor_release_a_claim(claims: SqliteStore) -> None:
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    taken = claims.take_over(claims.expired_claims(is_over=at(60))[0], now=moment(60), until=moment(120))
    assert taken is not None
    assert not claims.renew(held, now=moment(60), until=moment(300))
    assert not claims.settle(held, EVENT)
    claims.release(held)
    assert claims.all_actions(sid(1)) == []
    assert claims.settle(taken, EVENT)
    assert not claims.settle(taken, EVENT)  # settled is settled
    assert claims.all_actions(sid(1)) == [EVENT]


def test_a_claim_that_was_released_and_claimed_anew_is_another_ones(claims: SqliteStore) -> None:
    held = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    claims.release(held)
    anew = claimed(claims, CLAIM, now=moment(0), until=LEASE)
    assert not claims.renew(held, now=moment(0), until=LEASE)
    assert claims.renew(anew, now=moment(0), until=LEASE)


def test_why_an_action_can_not_be_claimed_is_known_at_once(claims: SqliteStore) -> None:
    claimed(claims, CLAIM, now=moment(0), until=LEASE)
    other = OpenClaim("another", sid(1), sid(3), "redirect")
    assert claims.claim(CLAIM, now=moment(0), until=LEASE) is Refusal.CLAIMED_BEFORE
    assert claims.claim(other, now=moment(0), until=LEASE, exclusive=True) is Refusal.OTHER_IN_PROGRESS
    assert claims.claim(other, now=moment(0), until=LEASE)


def test_the_limit_of_actions_is_for_all_who_share_the_store(claims: SqliteStore, path: Path) -> None:
    other, limit = SqliteStore.open(path, world=WORLD), ActionLimit(per_second=2, per_minute=3)

    def claim(store: SqliteStore, number: int, second: float) -> OpenClaim | Refusal:
        wanted = OpenClaim("rule", sid(number), sid(number), "hangup")
        return store.claim(wanted, now=moment(second), until=moment(second + 90), limit=limit)

    released = claim(claims, 1, 0)
    assert isinstance(released, OpenClaim)
    claims.release(released)  # nothing was sent
    assert claim(claims, 2, 0)
    claimed(claims, OpenClaim("rule", sid(3), sid(3), "hangup"), now=moment(0), until=LEASE)  # no limit: a refusal
    assert claim(other, 4, 0.5)
    assert claim(claims, 5, 0.9) is Refusal.SECOND_IS_FULL
    assert claim(other, 5, 1.2)
    assert claim(claims, 6, 30) is Refusal.MINUTE_IS_FULL
    assert claim(claims, 6, 60)
    other.close()
