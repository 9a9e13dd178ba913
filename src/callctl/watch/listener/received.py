"""A request that a listener received, and what stands behind the listener to be shown it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from callctl.watch.listener.signature import SignedRequest

# A form with this name alone is a watch's self-test, signed; or, as a GET that is not signed, the question who is here.
# The answer says who answered, as /healthz does.
PROBE: Final = "CallctlProbe"
NOT_FOR_TWIML: Final = "this URL is for status callbacks; it has no TwiML to give\n"


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came. ``headers`` keep their order and case; ``pairs`` is the form, blanks included."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    pairs: tuple[tuple[str, str], ...]
    signed: SignedRequest

    @property
    def is_probe(self) -> bool:
        """Whether it is a watch's own self-test."""
        return [name for name, _ in self.pairs] == [PROBE]

    @property
    def asks_who_is_here(self) -> bool:
        """Whether it is the question that goes before a self-test, where the way is not known yet."""
        return self.is_probe and self.method == "GET" and self.signed.signature is None


class Behind(Protocol):
    """What stands behind a listener and is shown the requests that were verified."""

    async def twiml(self, place: str, received: Received) -> web.Response:
        """Answer a request for TwiML that came to a path."""

    def passed(self, received: Received) -> None:
        """Take notice of a request that is acknowledged; may not be slow."""


class NothingBehind:
    """Stands behind a listener that is for status callbacks alone."""

    async def twiml(self, _place: str, _received: Received) -> web.Response:
        """Say that there is no TwiML to be had."""
        return web.Response(status=404, text=NOT_FOR_TWIML)

    def passed(self, _received: Received) -> None:
        """Do nothing."""
