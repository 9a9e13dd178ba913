"""Calls as a test sees them, each with all that happened to it; those that come in; and what their far ends do."""

from collections.abc import Awaitable, Callable
from itertools import islice

from aiohttp import web

from callctl.simulator.models import Leg
from callctl.simulator.records import Call
from callctl.simulator.rest.control import body, query, shown
from callctl.simulator.rest.control.operations import Control
from callctl.simulator.rest.routing import Endpoint, Routes, get

INCOMING = (
    "to", "from", "url", "method", "twiml", "fallback_url", "status_callback", "status_callback_event",
    "application_sid", "time_limit", "parameters",
)  # fmt: skip
Act = Callable[[web.Request, str], Awaitable[Call]]  # what is done to the call with a SID


def routes(endpoint: Endpoint, control: Control, path: str) -> Routes:
    """Return what is answered here."""

    async def list_(request: web.Request) -> web.Response:
        world, since = endpoint.world, query.seconds(request, "since")
        legs = world.switch.register.newest_first()
        wanted = legs if since is None else (leg for leg in legs if not leg.is_final or _changed(leg) >= since)
        newest = islice(wanted, query.whole(request, "limit"))
        calls = [shown.call(Call.of(leg)) for leg in reversed(tuple(newest))]
        return web.json_response({"run": world.run, "at": world.clock.now(), "calls": calls})

    async def fetch(request: web.Request) -> web.Response:
        return web.json_response(shown.call(control.find(request.match_info["sid"])))

    async def come_in(request: web.Request) -> web.Response:
        given = await body.read(request, *INCOMING)
        call = control.call(
            to=given.text("to"),
            from_=given.text("from"),
            url=given.text("url"),
            method=given.text("method"),
            twiml=given.text("twiml"),
            fallback_url=given.text("fallback_url"),
            status_callback=given.text("status_callback"),
            status_callback_event=given.texts("status_callback_event"),
            application_sid=given.text("application_sid"),
            time_limit=given.whole("time_limit"),
            parameters=given.pairs("parameters"),
        )
        return web.json_response(shown.call(call), status=201)

    async def answer(request: web.Request, sid: str) -> Call:
        await body.read(request)
        return control.answer(sid)

    async def hang_up(request: web.Request, sid: str) -> Call:
        await body.read(request)
        return control.hang_up(sid)

    async def press(request: web.Request, sid: str) -> Call:
        return control.press(sid, (await body.read(request, "digits")).text("digits", None))

    async def say(request: web.Request, sid: str) -> Call:
        return control.say(sid, (await body.read(request, "words")).text("words", None))

    async def answers(request: web.Request, sid: str) -> Call:
        return control.answer_gathers(sid, (await body.read(request, "answers")).texts("answers"))

    def action_route(name: str, act: Act) -> web.RouteDef:
        async def handle(request: web.Request) -> web.Response:
            return web.json_response(shown.call(await act(request, request.match_info["sid"])))

        return web.post(f"{path}/calls/{{sid}}/{name}", handle)

    return (
        get(f"{path}/calls", list_),
        web.post(f"{path}/calls", come_in),
        get(f"{path}/calls/{{sid}}", fetch),
        action_route("answer", answer),
        action_route("hangup", hang_up),
        action_route("press", press),
        action_route("say", say),
        action_route("answers", answers),
    )


def _changed(leg: Leg) -> float:
    """Return when a leg got its status or its last notification, in simulated seconds."""
    return max(leg.timeline[-1][0].at, leg.notifications[-1].at if leg.notifications else 0.0)
