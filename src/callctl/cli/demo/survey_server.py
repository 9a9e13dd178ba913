"""The demo's survey: what a user's own application would serve, and the calls that requested it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callctl.calls.twiml import say

if TYPE_CHECKING:
    from aiohttp import web

QUESTION = "Thank you for your call. How satisfied were you, from one to five?"


@dataclass(slots=True)
class Survey:
    """``by_action`` are the calls whose Dial has it as ``action``, ``by_redirect`` those that were redirected to it."""

    url: str = ""
    by_action: list[str] = field(default_factory=list)
    by_redirect: list[str] = field(default_factory=list)
    note: Callable[[str], None] = lambda _: None

    async def answer(self, request: web.Request) -> web.Response:
        """Return the survey; nothing for a Dial without a conversation, since its action is requested all the same."""
        from aiohttp import web

        form = await request.post()
        sid, dialled = (str(form.get(name) or "") for name in ("CallSid", "DialCallStatus"))
        if dialled:
            self.by_action.append(sid)
            self.note(f"{sid}  POST /survey (Dial: {dialled})")
        else:
            self.by_redirect.append(sid)
            self.note(f"{sid}  POST /survey")
        text = say(QUESTION) if dialled in ("", "completed") else "<Response><Hangup/></Response>"
        return web.Response(text=text, content_type="text/xml")


@asynccontextmanager
async def serving() -> AsyncIterator[Survey]:
    """Serve a survey on a free loopback port."""
    from aiohttp import web

    from callctl.support.server import TcpServer

    survey = Survey()
    application = web.Application()
    application.router.add_post("/survey", survey.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    server = await TcpServer.open(runner.server, cleanup=runner.cleanup, host="127.0.0.1", port=0)
    survey.url = f"http://127.0.0.1:{server.port}/survey"
    try:
        yield survey
    finally:
        await server.close()
