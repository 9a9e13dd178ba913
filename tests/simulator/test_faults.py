"""Callbacks that are dropped, doubled, delayed and shuffled, as chance has it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from simulator.setup import BUSY, NEVER, simulator_setup

from callctl.simulator import Faults
from callctl.simulator.faults import Chance


class TestFaults:
    async def received(self, *, calls: int = 30, seed: int = 7, **faults: object) -> list[tuple[int, str, str]]:
        """Place calls under faults; return what was received, in order: number of the call, status, token."""
        async with simulator_setup(seed=seed, faults=Faults(**faults)) as setup:  # type: ignore[arg-type]
            sids = [(await setup.place(BUSY))["sid"] for _ in range(calls)]
            await setup.advance(30)
            return [
                (sids.index(each.form["CallSid"]), each.form["CallStatus"], each.headers["I-Twilio-Idempotency-Token"])
                for each in setup.listener.at("/status")
            ]

    async def test_drop(self) -> None:
        arrived = await self.received(drop=0.3)
        assert 45 <= len(arrived) <= 80  # of 90
        assert not set(Counter(call for call, _, _ in arrived).values()) <= {3}  # an event is lost, not a call
        assert await self.received(drop=1.0, calls=3) == []

    async def test_duplicate(self) -> None:
        arrived = await self.received(duplicate=0.3)
        counts = Counter(arrived)
        assert len(counts) == 90
        assert set(counts.values()) == {1, 2}
        assert 10 <= list(counts.values()).count(2) <= 45

    async def test_delay(self) -> None:
        async with simulator_setup(faults=Faults(delay=(1.0, 3.0))) as setup:
            await setup.place(BUSY)
            await setup.advance(10)
            fired = {each.event: each.at for each in setup.sim.callbacks}
            late = [
                arrived.at - fired[{"busy": "completed"}.get(arrived.form["CallStatus"], arrived.form["CallStatus"])]
                for arrived in setup.listener.at("/status")
            ]
            assert all(1.0 <= seconds <= 3.0 for seconds in late)
            assert len(set(late)) == 3

    async def test_shuffle(self) -> None:
        arrived = await self.received(shuffle=True, calls=12)
        rank = {"initiated": 0, "ringing": 1, "busy": 2}
        by_call = [[rank[status] for call, status, _ in arrived if call == each] for each in range(12)]
        assert all(sorted(numbers) == [0, 1, 2] for numbers in by_call)  # none is lost
        assert any(numbers != [0, 1, 2] for numbers in by_call)

    async def test_the_last_event_waits_for_nothing(self) -> None:
        async with simulator_setup(seed=7, faults=Faults(shuffle=True)) as setup:
            for _ in range(12):
                await setup.place(BUSY, StatusCallbackEvent=None)
            await setup.advance(1.5)
            assert [arrived.form["CallStatus"] for arrived in setup.listener.at("/status")] == ["busy"] * 12

    async def test_what_nothing_overtakes_is_sent_all_the_same(self) -> None:
        async with simulator_setup(seed=7, faults=Faults(shuffle=True)) as setup:
            sids = [(await setup.place(NEVER))["sid"] for _ in range(12)]
            await setup.advance(0.5)
            early = [len(setup.callbacks(sid)) for sid in sids]
            await setup.advance(10)  # long before the last of their events
            assert (min(early), {len(setup.callbacks(sid)) for sid in sids}) == (1, {2})

    async def test_the_seed_makes_the_same_choices_again(self) -> None:
        faults: dict[str, Any] = {"drop": 0.2, "duplicate": 0.2, "delay": (0.0, 3.0), "shuffle": True}
        first, second = [sorted(await self.received(**faults, calls=10)) for _ in range(2)]
        assert first == second
        assert first != sorted(await self.received(**faults, calls=10, seed=8))

    def test_a_choice_depends_on_call_and_event_alone(self) -> None:
        faults = Faults(drop=0.5, duplicate=0.5)
        one, other = Chance(3), Chance(3)
        for number in range(50):
            other.number("something", number)
        assert one.delivery(faults, "4.2", "ringing") == other.delivery(faults, "4.2", "ringing")
        fates = {one.delivery(faults, str(call), "ringing") for call in range(50)}
        assert len(fates) == 3  # lost, sent, sent twice

    async def test_sids_come_from_the_seed(self) -> None:
        sids = []
        for seed in (1, 1, 2, None, None):
            async with simulator_setup(seed=seed) as setup:
                sids.append((await setup.place())["sid"])
        assert sids[0] == sids[1]
        assert len(set(sids)) == 4
