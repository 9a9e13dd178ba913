"""Claims: once per rule and leg, across restarts and among watches that share a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from telling import START, WORLD, event, moment, sid

from callctl.calls.action import ActionEvent
from callctl.errors import StoreError
from callctl.store.protocol import OpenClaim
from callctl.store.sqlite.claims import SqliteClaims
from callctl.store.sqlite.store import SqliteStore

CLAIM = OpenClaim("after-dial", sid(1), sid(2), "redirect")
EVENT = ActionEvent(moment(5), sid(1), "redirect", (("Url", "https://example.com/"),), "redirected", rule="after-dial")
LEASE = moment(60)


def at(seconds: float) -> Callable[[OpenClaim], bool]:
    return lambda claim: claim.lease is not None and claim.lease <= moment(seconds)


@pytest.fixture
def claims(path: Path) -> Iterator[SqliteClaims]:
    claims = SqliteClaims(path, world=WORLD)
    yield claims
    claims.close()


def test_a_claim_is_given_once_also_to_another_watch(claims: SqliteClaims, path: Path) -> None:
    assert claims.claim(CLAIM, now=moment(0), until=LEASE)
    other = SqliteClaims(path, world=WORLD)
    assert not other.claim(CLAIM, now=moment(0), until=LEASE)
    assert other.claimed() == {("after-dial", sid(1))}
    other.close()


def test_of_many_who_claim_at_once_one_gets_it(path: Path) -> None:
    got: list[bool] = []

    def claim() -> None:
        mine = SqliteClaims(path, world=WORLD)
        got.append(mine.claim(CLAIM, now=moment(0), until=LEASE))
        mine.close()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


def test_worlds_are_kept_apart(claims: SqliteClaims, path: Path) -> None:
    assert claims.claim(CLAIM, now=moment(0), until=LEASE)
    other = SqliteClaims(path, world="other")
    assert other.claimed() == set()
    assert other.left_open(is_over=lambda _: True) == []
    assert other.at_work_on(sid(1), beside="another") is None
    other.renew(CLAIM, until=moment(90))
    other.settle(CLAIM, EVENT)
    other.release(CLAIM)
    assert [one.lease for one in claims.left_open(is_over=lambda _: True)] == [LEASE]
    assert claims.asked_of(sid(1)) == []
    assert other.claim(CLAIM, now=moment(0), until=LEASE)
    other.close()


def test_a_claim_that_is_settled_is_not_opened_again_by_who_still_renews_it(claims: SqliteClaims) -> None:
    claims.claim(CLAIM, now=moment(0), until=LEASE)
    claims.settle(CLAIM, EVENT)
    claims.renew(CLAIM, until=moment(90))
    assert claims.left_open(is_over=lambda _: True) == []


def test_an_open_claim_may_be_taken_over_once_its_lease_is_over(claims: SqliteClaims) -> None:
    claims.claim(CLAIM, now=moment(0), until=LEASE)
    assert claims.left_open(is_over=at(59)) == []
    claims.renew(CLAIM, until=moment(90))
    assert claims.left_open(is_over=at(89)) == []
    (open_claim,) = claims.left_open(is_over=at(90))
    assert (open_claim, open_claim.lease) == (CLAIM, moment(90))
    assert claims.take_over(open_claim, until=moment(200))
    assert not claims.take_over(open_claim, until=moment(300))  # somebody else was first
    assert not claims.take_over(CLAIM, until=moment(300))


def test_a_claim_that_is_renewed_after_it_was_read_stays_with_its_holder(claims: SqliteClaims) -> None:
    claims.claim(CLAIM, now=moment(0), until=LEASE)
    (read,) = claims.left_open(is_over=at(60))
    claims.renew(CLAIM, until=moment(61))
    assert not claims.take_over(read, until=moment(200))
    claims.settle(CLAIM, EVENT)
    assert not claims.take_over(read, until=moment(200))


def test_a_settled_claim_stays_and_what_came_of_it_is_kept(claims: SqliteClaims, path: Path) -> None:
    claims.claim(CLAIM, now=moment(0), until=LEASE)
    claims.settle(CLAIM, EVENT)
    assert claims.left_open(is_over=lambda _: True) == []
    claims.renew(CLAIM, until=LEASE)
    assert claims.left_open(is_over=lambda _: True) == []
    assert not claims.claim(CLAIM, now=moment(0), until=LEASE)
    assert claims.asked_of(sid(1)) == [EVENT]
    store = SqliteStore(path, world=WORLD)
    assert store.reader.actions(sid(1)) == [EVENT]
    store.close()


def test_a_claim_given_back_is_free(claims: SqliteClaims) -> None:
    claims.claim(CLAIM, now=moment(0), until=LEASE)
    claims.release(CLAIM)
    assert claims.claim(CLAIM, now=moment(0), until=LEASE)


def test_of_many_rules_that_claim_a_leg_for_themselves_alone_one_gets_it(path: Path) -> None:
    got: list[str] = []

    def claim(rule: str) -> None:
        mine = SqliteClaims(path, world=WORLD)
        if mine.claim(OpenClaim(rule, sid(1), sid(2), "redirect"), now=moment(0), until=LEASE, alone=True):
            got.append(rule)
        mine.close()

    threads = [threading.Thread(target=claim, args=(f"rule-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_leg_is_free_for_another_rule_once_the_answer_is_recorded(claims: SqliteClaims) -> None:
    other = OpenClaim("another", sid(1), sid(2), "redirect")
    claims.claim(OpenClaim("max-duration", sid(1), sid(1), "limit"), now=moment(0), until=LEASE)
    assert claims.claim(CLAIM, now=moment(0), until=LEASE, alone=True)  # a limit ends nothing by itself
    assert not claims.claim(other, now=moment(1), until=LEASE, alone=True)
    claims.settle(CLAIM, EVENT)
    assert not claims.claim(CLAIM, now=moment(1), until=LEASE, alone=True)
    assert claims.claim(other, now=moment(1), until=LEASE, alone=True)


def test_every_call_that_was_placed_is_remembered_and_dropped_when_old(
    claims: SqliteClaims, store: SqliteStore
) -> None:
    store.remember_placed(sid(1), at=moment(0))
    store.remember_placed(sid(2), at=moment(9))
    claims.claim(CLAIM, now=moment(0), until=LEASE)
    store.intend([sid(4)], until=moment(4))
    assert [claims.was_placed(sid(number)) for number in (1, 2, 3)] == [True, True, False]
    store.delete_older_than(moment(5))
    assert not claims.was_placed(sid(1))
    assert claims.was_placed(sid(2))
    assert claims.claimed() == set()
    assert not claims.is_about_to_change(sid(4), is_over=lambda _: False)  # its command was killed


def test_what_other_rules_are_changing_is_told_until_the_answer_is_recorded(claims: SqliteClaims) -> None:
    claims.claim(CLAIM, now=moment(0), until=LEASE)
    claims.claim(OpenClaim("max-duration", sid(3), sid(3), "limit"), now=moment(0), until=LEASE)
    assert claims.at_work_on(sid(1), beside="another") == "redirect"
    assert claims.at_work_on(sid(1), beside=CLAIM.rule) is None
    assert claims.at_work_on(sid(2), beside="another") is None
    assert claims.at_work_on(sid(3), beside="another") is None  # it ends nothing by itself
    claims.settle(CLAIM, EVENT)
    assert claims.at_work_on(sid(1), beside="another") is None


def test_what_a_command_is_about_to_change_is_known_until_it_gives_up_or_is_late(
    claims: SqliteClaims, store: SqliteStore
) -> None:
    store.intend([sid(1), sid(2)], until=moment(60))
    store.intend([sid(2)], until=moment(90))  # once more
    store.give_up([sid(1)])

    def changing(now: float) -> list[bool]:
        return [claims.is_about_to_change(sid(call), is_over=lambda until: until <= moment(now)) for call in (1, 2, 3)]

    told = [changing(now) for now in (0, 89, 90)]
    assert told == [[False, True, False], [False, True, False], [False, False, False]]


def test_what_was_asked_of_a_call_ends_the_intent_to_ask_it(claims: SqliteClaims, store: SqliteStore) -> None:
    store.intend([EVENT.call_sid, sid(2)], until=moment(60))
    store.record_actions([EVENT])
    told = [claims.is_about_to_change(one, is_over=lambda _: False) for one in (EVENT.call_sid, sid(2))]
    assert told == [False, True]


def test_where_the_dial_of_a_placed_call_sends_it_is_remembered(claims: SqliteClaims, store: SqliteStore) -> None:
    store.remember_placed(sid(1), at=moment(0), dial_action="survey")
    store.remember_placed(sid(2), at=moment(0))
    assert [claims.dial_action(sid(number)) for number in (1, 2, 3)] == ["survey", None, None]


def test_a_claim_that_can_not_be_kept_is_an_error(path: Path) -> None:
    blocker = SqliteClaims(path, world=WORLD)
    blocked = SqliteClaims(path, world=WORLD, busy_timeout=0.05)
    with blocker._writing(), pytest.raises(StoreError, match="locked"):
        blocked.claim(CLAIM, now=moment(0), until=moment(0) + timedelta(seconds=1))
    blocker.close()
    blocked.close()


def test_what_was_asked_of_a_leg_is_not_taken_for_nothing_where_it_can_not_be_read(
    claims: SqliteClaims, store: SqliteStore
) -> None:
    store.record_actions([ActionEvent(START, sid(number), "hangup", (), "done") for number in (1, 2)])
    with store._opened.changed() as connection:
        connection.execute("UPDATE actions SET record = '[]' WHERE sid = ?", (sid(1),))
    with pytest.raises(StoreError, match="can't be read"):
        claims.asked_of(sid(1))
    assert len(claims.asked_of(sid(2))) == 1
    assert store.reader.actions(sid(1)) == []


@pytest.mark.parametrize("time", [10**18, -(10**18), "'soon'"])
def test_an_absurd_time_in_one_row_hides_no_other(claims: SqliteClaims, store: SqliteStore, time: object) -> None:
    for number in (1, 2):
        store.remember_placed(sid(number), at=START, callback="http://here")
        store.intend([sid(number)], until=START)
        store.append(event(number, "ringing"))
        assert claims.claim(OpenClaim("rule", sid(number), sid(number), "hangup"), now=START, until=START)
    with store._opened.changed() as connection:
        for column in ("placed_calls SET at", "intents SET until", "calls SET last_at", "claims SET lease"):
            connection.execute(f"UPDATE {column} = {time} WHERE sid = ?", (sid(1),))
    assert sid(2) in [one.call_sid for one in store.reader.placed_since(START, callback="http://here")]
    assert {row.call_sid for row in store.reader.live_calls()} == {sid(1), sid(2)}
    assert sid(2) in [one.call_sid for one in claims.left_open(is_over=lambda _: True)]
    assert claims.is_about_to_change(sid(1), is_over=lambda _: False)
