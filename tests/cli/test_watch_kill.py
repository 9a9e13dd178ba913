"""A watch that is killed under load, again and again: whatever it answered for with 204 is there afterwards."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

from processes import Piped
from running import env_for
from telling import form

from callctl.settings import load
from callctl.signatures import signature_of
from callctl.simulator import Simulator
from callctl.store.sqlite import SqliteStore

ROUNDS, SENDERS = 4, 6
WATCH = ("watch", "--no-poll", "--json")


class Load:
    """Callbacks without end, over several connections, until nobody answers any more."""

    def __init__(self, port: int, *, token: str, numbers: itertools.count[int]) -> None:
        self._port, self._token, self._numbers = port, token, numbers
        self.answered: list[int] = []
        self._senders = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for sender in self._senders:
            sender.start()

    def _send(self) -> None:
        url = f"http://127.0.0.1:{self._port}/status"
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            for number in self._numbers:
                fields = form(number // 4, "ringing", number=number % 4)
                headers = {
                    "Content-Type": "application/x-www-form-urlencoded",
                    "X-Twilio-Signature": signature_of(url, list(fields.items()), key=self._token),
                }
                connection.request("POST", "/status", urlencode(fields), headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 204
                self.answered.append(number)
        except (OSError, http.client.HTTPException):
            pass  # it was killed
        finally:
            connection.close()

    def until(self, count: int) -> None:
        """Return once so many were answered."""
        deadline = time.monotonic() + 90
        while len(self.answered) < count:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def end(self) -> None:
        """Return once all senders have given up."""
        for sender in self._senders:
            sender.join()


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
    store = SqliteStore(settings.store, world=settings.world)
    kept = Counter((event.call_sid, event.sequence_number) for event in store.replay(since=None))
    store.close()
    assert {(form(number // 4, "x")["CallSid"], number % 4) for number in answered} <= kept.keys()
    assert set(kept.values()) == {1}
