"""Events of a call: the requests that an application got for it, and how it answered. They are listed."""

import re
from collections.abc import Iterator
from email.utils import format_datetime
from typing import NamedTuple

from aiohttp import web

from callctl.simulator.http_requests import Sent
from callctl.simulator.rest import listing, serializers
from callctl.simulator.rest.routing import Endpoint, Routes, as_page, get

_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class _Event(NamedTuple):
    """A request that was made about a call, by the number of its record."""

    ordinal: int
    sent: Sent


class CallEvents:
    """Twilio's operation on the events of a call; Twilio has them from 15 minutes after its end, here they are at once.

    Source: docs/twilio.md, "Notifications".
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def routes(self) -> Routes:
        """Return what is answered here."""
        return (get(self._endpoint.account_path("/Calls/{sid}/Events.json"), self._list),)

    async def _list(self, request: web.Request) -> web.Response:
        call = self._endpoint.leg(request).sid
        page = listing.page(lambda: self._newest_first(call), request.query, matches=lambda _: True)
        return as_page(request, "events", page, [_shown(each.sent) for each in page.items])

    def _newest_first(self, call: str) -> Iterator[_Event]:
        """Yield the requests about a call; a stream is no such request."""
        every = reversed(self._endpoint.world.records.all_sent())
        return (_Event(sent.number, sent) for sent in every if sent.call == call and sent.kind != "stream")


def _shown(sent: Sent) -> serializers.Json:
    """Show a request and its answer; null for none."""
    reply = sent.reply
    answer = None
    if reply is not None and reply.status is not None:
        answer = {
            "response_code": reply.status,
            "request_duration": sent.milliseconds,
            "content_type": reply.content_type,
            "response_body": reply.text,
            "date_created": format_datetime(sent.time),
        }
    parameters = {_WORD_BEGINS.sub("_", name).lower(): value for name, value in sent.params.items()}
    return {"request": {"method": sent.method, "url": sent.url, "parameters": parameters}, "response": answer}
