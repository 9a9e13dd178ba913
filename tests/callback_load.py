"""A load of callbacks for a watch that is a process of its own, and what its store has kept of them."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlencode

from events import form

from callctl.settings import Settings
from callctl.store.opening import open_for_watch
from callctl.watch.listener.signature import signature_of

_SENDERS = 6


class Load:
    """Callbacks without end, over several connections, until no answer comes any more, or until it is stopped.

    ``answered`` are the numbers of those that were acknowledged, ``broken`` says why no answer came. With ``may_fail``
    others may be answered with 500.
    """

    def __init__(self, port: int, *, token: str, numbers: Iterator[int], may_fail: bool = False) -> None:
        self._port, self._token, self._numbers, self._may_fail = port, token, numbers, may_fail
        self.answered: list[int] = []
        self.broken: list[Exception] = []
        self._is_over = threading.Event()
        self._senders = [threading.Thread(target=self._send) for _ in range(_SENDERS)]
        for sender in self._senders:
            sender.start()

    def _send(self) -> None:
        url = f"http://127.0.0.1:{self._port}/status"
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            for number in itertools.takewhile(lambda _number: not self._is_over.is_set(), self._numbers):
                fields = form(number // 4, "ringing", number=number % 4)
                headers = {
                    "Content-Type": "application/x-www-form-urlencoded",
                    "X-Twilio-Signature": signature_of(url, list(fields.items()), key=self._token),
                }
                connection.request("POST", "/status", urlencode(fields), headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 204 or (self._may_fail and answer.status == 500)
                if answer.status == 204:
                    self.answered.append(number)
        except (OSError, http.client.HTTPException) as error:
            self.broken.append(error)  # it was killed
        finally:
            connection.close()

    def until(self, count: int) -> None:
        """Return once so many were answered."""
        deadline = time.monotonic() + 90
        while len(self.answered) < count:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def stop(self) -> None:
        """Send no more, and return once all was answered."""
        self._is_over.set()
        self.end()

    def end(self) -> None:
        """Return once all senders have given up."""
        for sender in self._senders:
            sender.join()


def call_and_number(number: int) -> tuple[str, int]:
    """Return what identifies the event of a callback: CallSid and SequenceNumber."""
    return form(number // 4, "x")["CallSid"], number % 4


def kept_in(settings: Settings) -> Counter[tuple[str, int | None]]:
    """Return how often each event is in a store that is opened anew."""
    with closing(open_for_watch(settings, on_trouble=lambda _text: None)) as store:
        return Counter((event.call_sid, event.sequence_number) for event in store.replay(since=None))
