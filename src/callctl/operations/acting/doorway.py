"""The gateway as acting sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from callctl.calls import Call
from callctl.gateway import CallQuery, Gateway, RedirectRequest


@dataclass(frozen=True, slots=True)
class Doorway:
    """Hands requests on to the gateway."""

    gateway: Gateway

    def fetch(self, sid: str) -> Call:
        """Return a call."""
        return self.gateway.fetch(sid)

    def live_children(self, sid: str) -> Iterator[Call]:
        """Return the child legs of a call that have not ended: one request."""
        return (call for call in self.gateway.list(CallQuery(parent_call_sid=sid), limit=None) if not call.is_final)

    def cancel(self, sid: str) -> Call:
        """Ask that a call be ended unless it was answered."""
        return self.gateway.cancel(sid)

    def hangup(self, sid: str) -> Call:
        """Ask that a call be ended."""
        return self.gateway.hangup(sid)

    def redirect_to(self, sid: str, *, url: str, method: str | None) -> Call:
        """Give a call in progress other TwiML."""
        return self.gateway.redirect(sid, RedirectRequest(url=url, method=method))

    def limit_time(self, sid: str, seconds: int) -> Call:
        """Limit a call's length."""
        return self.gateway.limit_time(sid, seconds)
