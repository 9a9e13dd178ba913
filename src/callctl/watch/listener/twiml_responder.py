"""What stands behind the listener: the documents it serves, and the application that requests are passed on to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from aiohttp import web
from multidict import CIMultiDict

from callctl.calls.trouble import Cause, Trouble
from callctl.errors import UsageError
from callctl.support.urls import is_loopback_url
from callctl.watch.listener.address import DOCUMENTS
from callctl.watch.listener.documents import Documents, event_fault
from callctl.watch.listener.forward import Answer, Forwarder
from callctl.watch.listener.received import NOT_FOR_TWIML, Received

# Headers of an application's answer that mean something to Twilio; the rest belongs to its connection to us.
_ANSWER_HEADERS = ("content-type", "content-encoding", "location", "cache-control", "set-cookie")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_LOOP = 508  # Loop Detected (RFC 5842, section 7.2)


class BehindWatch:
    """Serves documents and passes on to an application; ``note`` is told what became of it, ``trouble`` what failed."""

    def __init__(
        self,
        documents: Documents,
        forward_to: str | None,
        *,
        forward_insecure: bool = False,
        note: Callable[[str], None],
        trouble: Callable[[Trouble], None],
    ) -> None:
        self._documents, self._note, self._trouble = documents, note, trouble
        self._forward_to, self._insecure = forward_to, forward_insecure
        self._forwarder: Forwarder | None = None
        self._told: set[str] = set()
        self._dropped = 0

    def start(self) -> None:
        """Begin; call it in the event loop."""
        if self._forward_to is not None:
            self._forwarder = Forwarder(
                self._forward_to,
                told=self._tell,
                dropped=self._drop,
                clock=time.perf_counter,
                verify=not self._insecure,
            )
            self._forwarder.start()

    async def stop(self) -> None:
        """Stop at once."""
        if self._forwarder is not None:
            await self._forwarder.stop()

    def passed(self, received: Received) -> None:
        """Pass on what was acknowledged, but nothing that comes back from there: it would go round for ever."""
        self._pass_on(received, asks_for_twiml=False)

    async def twiml(self, place: str, received: Received) -> web.Response:
        """Answer with the document at this path, else with what the application says."""
        if place.startswith(DOCUMENTS):
            self._pass_on(received, asks_for_twiml=True)
            return self._document(place.removeprefix(DOCUMENTS))
        if self._forwarder is not None:
            if self._comes_back(self._forwarder, received, asks_for_twiml=True):
                return web.Response(status=_LOOP)
            return _response(await self._forwarder.ask(received))
        what = "a request for TwiML was answered with 404: this URL is for status callbacks; give --serve"
        self._once(Trouble(what, Cause.TWIML, url=received.target, status=404))
        return web.Response(status=404, text=NOT_FOR_TWIML)

    def _pass_on(self, received: Received, *, asks_for_twiml: bool) -> None:
        forwarder = self._forwarder
        if forwarder is not None and not self._comes_back(forwarder, received, asks_for_twiml=asks_for_twiml):
            forwarder.put(received)

    def _comes_back(self, forwarder: Forwarder, received: Received, *, asks_for_twiml: bool) -> bool:
        if forwarder.has_passed_on(received):
            what = f"--forward-to {self._forward_to} leads back to this watch: give it the address of your application"
        elif forwarder.goes_round(received, asks_for_twiml=asks_for_twiml):
            what = (
                f"--forward-to {self._forward_to}: what is passed on comes back here, again and again: a request that "
                "has come so often is not passed on any more; see where your application sends what it is given"
            )
        else:
            return False
        self._once(Trouble(what, Cause.FORWARD, url=self._forward_to))
        return True

    def _document(self, name: str) -> web.Response:
        try:
            text = self._documents.text(name)
        except UsageError as error:
            what = f"a request for TwiML was answered with 500: {error.message}"
            self._trouble(Trouble(what, Cause.TWIML, url=DOCUMENTS + name, status=500))
            return web.Response(status=500)
        if fault := event_fault(text):  # it was edited since the watch began
            what = f"--serve {name}: {fault.message}: no such callbacks will come; {fault.hint}"
            self._once(Trouble(what, Cause.TWIML, url=DOCUMENTS + name))
        return web.Response(text=text, content_type="text/xml", charset="utf-8")

    def _once(self, text: Trouble) -> None:
        if text not in self._told:
            self._told.add(text)
            self._trouble(text)

    def _tell(self, received: Received, answer: Answer) -> None:
        fields = dict(received.pairs)
        call = " ".join(filter(None, (fields.get("CallSid"), fields.get("CallStatus"))))
        what = f"→ {self._forward_to}  {answer.text}  {call}".rstrip()
        if answer.status is None or answer.status >= 500:
            sid = fields.get("CallSid")
            self._trouble(Trouble(what, Cause.FORWARD, url=self._forward_to, status=answer.status, call_sid=sid))
        else:
            self._note(what)

        if answer.is_untrusted:
            local = is_loopback_url(self._forward_to or "")
            what = "SSL_CERT_FILE names the file of a CA to trust, or of your application's own certificate"
            what += "; --forward-insecure accepts any" if local else ""
            self._once(Trouble(what, Cause.FORWARD, url=self._forward_to))

    def _drop(self) -> None:
        self._dropped += 1
        if self._dropped & (self._dropped - 1) == 0:  # the first, second, fourth, eighth …
            what = f"{self._forward_to} is too slow: {self._dropped} requests were not passed on"
            self._trouble(Trouble(what, Cause.FORWARD, url=self._forward_to))


def _response(answer: Answer) -> web.Response:
    if answer.status is None:
        return web.Response(status=502)
    # A header with a control character can't be sent, and an answer without headers is better for the call than none.
    headers = CIMultiDict(
        [(name, _CONTROL.sub("", value)) for name, value in answer.headers if name.lower() in _ANSWER_HEADERS]
    )
    return web.Response(status=answer.status, body=answer.body, headers=headers)
