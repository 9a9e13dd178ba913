"""The order of what waits for an application, however the calls and their failures fall."""

from __future__ import annotations

import random
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from callctl.watch.forwarding.in_order import InOrder


@given(calls=st.lists(st.integers(0, 5), max_size=60), chance=st.randoms(use_true_random=False))
def test_of_each_call_one_is_out_at_a_time_and_all_come_out_in_their_order(
    calls: list[int], chance: random.Random
) -> None:
    """Items are put in, worked on by some workers, and put off again, in any order."""
    waiting: InOrder[tuple[int, int]] = InOrder()
    to_come = list(enumerate(calls))
    ready: list[int] = []
    out: list[int] = []
    done: dict[int, list[int]] = defaultdict(list)
    while to_come or ready or out:
        assert len(waiting) == len(list(waiting)) == len(calls) - len(to_come) - sum(map(len, done.values()))
        step = chance.choice([*(["come"] if to_come else []), *(["take"] if ready else []), *(["end"] if out else [])])
        if step == "come":
            number, call = to_come.pop(0)
            if waiting.add(call, (call, number)):
                ready.append(call)
        elif step == "take":
            out.append(ready.pop(chance.randrange(len(ready))))
        else:
            call = out.pop(chance.randrange(len(out)))
            whose, number = waiting.first(call)
            assert whose == call
            if chance.random() < 0.3:  # it was not taken
                ready.append(call)
                continue
            done[call].append(number)
            if waiting.remove_first(call):
                ready.append(call)
        assert len({*ready, *out}) == len(ready) + len(out)
    assert not len(waiting)
    assert {call: numbers for call, numbers in done.items() if numbers} == {
        call: [number for number, one in enumerate(calls) if one == call] for call in calls
    }
