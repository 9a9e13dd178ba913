"""A watch that is killed under load, again and again: whatever it answered for with 204 is there afterwards."""

from __future__ import annotations

import itertools
import random
import threading
from pathlib import Path

from callback_load import Load, call_and_number, kept_in
from processes import Piped
from running import env_for

from callctl.settings import load
from callctl.simulator import Simulator

ROUNDS = 4
WATCH = ("watch", "--no-poll", "--json")


def test_what_was_acknowledged_is_there_after_each_kill(home: Path, simulator: Simulator) -> None:
    env, chance, numbers = env_for(simulator), random.Random(5), itertools.count()
    answered: list[int] = []
    for _ in range(ROUNDS):
        with Piped(*WATCH, "--port", "0", home=home, env=env) as watch:
            reading = threading.Thread(target=watch.read_on)
            port = int(watch.record()["port"])
            reading.start()
            sending = Load(port, token=simulator.auth_token, numbers=numbers)
            sending.until(chance.randrange(20, 300))
            watch.kill()
            sending.end()
            reading.join()
        answered += sending.answered
    settings = load({"HOME": str(home), **env}, cwd=home)
    kept = kept_in(settings)
    assert set(map(call_and_number, answered)) <= kept.keys()
    assert set(kept.values()) == {1}
