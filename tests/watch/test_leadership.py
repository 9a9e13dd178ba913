"""Of those that share a store one does what one alone is to do, and another one once that is gone."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from events import WORLD
from running import env_for
from services import Service

from callctl.errors import StoreAwayError
from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.event_store import EventStore
from callctl.store.postgresql.store import PostgresStore
from callctl.watch.leadership import Leadership

TERM = timedelta(seconds=60)


def test_one_leads_until_it_no_longer_says_so(shared_store: str) -> None:
    with closing(PostgresStore.open(shared_store, world=WORLD)) as store:
        assert store.lead("one", lasting=TERM)
        assert not store.lead("two", lasting=TERM)
        assert store.lead("one", lasting=-TERM)  # its time is over at once, as of one that was killed
        assert store.lead("two", lasting=TERM)
        assert not store.lead("one", lasting=TERM)
    with closing(PostgresStore.open(shared_store, world="fedcba9876543210")) as other:
        assert other.lead("one", lasting=TERM)


class Elections:
    """A store that says who leads, or is away."""

    def __init__(self) -> None:
        self.leads: bool | None = False

    def lead(self, holder: str, *, lasting: timedelta) -> bool:
        assert (holder, lasting > timedelta()) == ("me", True)
        if self.leads is None:
            raise StoreAwayError("away")
        return self.leads


async def test_work_is_done_while_one_leads_and_ends_with_that() -> None:
    elections = Elections()
    leadership, log = Leadership(cast("EventStore", elections), "me"), list[str]()

    async def work() -> None:
        log.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    running = asyncio.ensure_future(leadership.run(work))
    for leads, seen in ((False, []), (True, ["begun"]), (True, ["begun"]), (None, ["begun", "ended"])):
        elections.leads = leads
        assert await leadership.renew() > 0
        await settled()
        assert log == seen
    elections.leads = True
    await leadership.renew()
    await settled()
    assert log == ["begun", "ended", "begun"]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert log[-1] == "ended"


async def test_work_that_is_done_or_fails_is_not_begun_anew() -> None:
    elections = Elections()
    elections.leads = True
    leadership = Leadership(cast("EventStore", elections), "me")
    await leadership.renew()

    async def fail() -> None:
        raise ValueError("odd")

    async def done() -> None:
        return

    await leadership.run(done)
    with pytest.raises(ValueError, match="odd"):
        await leadership.run(fail)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_of_two_listeners_that_may_ask_rest_one_does_and_the_other_once_it_is_gone(
    simulator: Simulator, home: Path, shared_store: str
) -> None:
    env = {**env_for(simulator), "CALLCTL_STORE": shared_store}

    def lists() -> int:
        return sum(one.method == "GET" and one.path.endswith("Calls.json") for one in simulator.requests)

    with Service("--poll", home=home, env=env) as first, closing(PostgresStore.open(shared_store, world="w")) as store:
        world = load(env, cwd=home).world

        def leader() -> str:
            rows = store._read("SELECT holder FROM callctl.leaders WHERE world = %(other)s", other=world)
            return str(rows[0][0]) if rows else ""

        first.until(lambda: leader() != "" and lists() > 0)
        before = leader()
        with Service("--poll", home=home, env=env) as second:
            assert second.ready
            first.kill()
            store._write("UPDATE callctl.leaders SET until = clock_timestamp()")  # as twenty seconds later
            second.until(lambda: leader() != before)
            asked = lists()
            second.until(lambda: lists() > asked)
