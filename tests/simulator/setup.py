"""A simulator with a clock driven by hand, and a real HTTP listener that serves documents and takes callbacks."""

import base64
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import jsonschema  # type: ignore[import-untyped]
from aiohttp import web
from paths import DATA
from twilio.request_validator import RequestValidator

from callctl.calls.board import Board
from callctl.calls.event import CallEvent, NotACallEventError
from callctl.simulator import DIALECTS, Simulator
from callctl.simulator.rest.control.service import DESCRIPTION
from callctl.simulator.sockets import Socket, SocketEvents, SocketRequest
from callctl.support.server import TcpServer

OPENAPI = DATA / "calls_openapi_live.json"
CALLS = DATA / "calls_openapi.json"  # as Twilio has it; the one above has live replies
VOICE = DATA / "voice_openapi.json"
FROM, ANSWERS, LATE, BUSY, NEVER, FAILS, HANGS_UP, VOICEMAIL, DIGITS = (
    "+15005550006",
    *(f"+1202555010{last}" for last in range(8)),
)
ALL_EVENTS = ["initiated", "ringing", "answered", "completed"]
EVENTS_ATTRIBUTE = 'statusCallbackEvent="initiated ringing answered completed"'

Json = dict[str, Any]
Document = str | Callable[[dict[str, str]], str | web.Response]


@dataclass(frozen=True, slots=True)
class ArrivedRequest:
    """One request that the listener received; `form` holds the query's pairs too."""

    at: float
    method: str
    path: str
    form: dict[str, str]
    headers: Mapping[str, str]
    signed: bool


@dataclass(slots=True)
class Listener:
    """Serves documents by path, and takes whatever is posted to /status."""

    token: str
    now: Callable[[], float]
    documents: dict[str, Document] = field(default_factory=dict)
    arrived: list[ArrivedRequest] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))
        validator = RequestValidator(self.token)
        url = f"{self.url}{request.raw_path}"
        signature = request.headers.get("X-Twilio-Signature", "")
        signed = bool(validator.validate(url, form, signature))
        everything = form | dict(request.query)
        self.arrived.append(
            ArrivedRequest(self.now(), request.method, request.path, everything, dict(request.headers), signed)
        )
        answer = self.documents.get(request.path)
        document = answer(everything) if callable(answer) else answer
        if isinstance(document, web.Response):
            return document
        if document is None:
            return web.Response(status=204 if request.path.startswith("/status") else 404)
        return web.Response(text=document, content_type="text/xml")

    def at(self, path: str) -> list[ArrivedRequest]:
        return [arrived for arrived in self.arrived if arrived.path == path]


class SimulatorSetup:
    """A simulator, and an application that serves documents and takes callbacks."""

    def __init__(self, sim: Simulator, listener: Listener, session: aiohttp.ClientSession) -> None:
        self.sim = sim
        self.listener = listener
        self.session = session
        self.headers = basic(sim.account_sid, sim.auth_token)

    @property
    def account(self) -> str:
        return f"/2010-04-01/Accounts/{self.sim.account_sid}"

    @property
    def status(self) -> str:
        return f"{self.listener.url}/status"

    async def request(
        self, method: str, path: str, form: Mapping[str, Any] | None = None, **options: Any
    ) -> tuple[int, Json]:
        """Send one request; its reply must be as the OpenAPI description says."""
        pairs = [
            (name, value)
            for name, values in (form or {}).items()
            for value in (values if isinstance(values, list) else [values])
        ]
        data = pairs if method == "POST" else None
        query = {} if method == "POST" else {"params": pairs}
        url = path if path.startswith("http") else self.sim.url + path
        options = {"headers": self.headers} | query | options
        async with self.session.request(method, url, data=data, **options) as reply:
            text = await reply.text()
            assert reply.headers["Twilio-Request-Id"].startswith("RQ")
            body: Json = json.loads(text) if text else {}
            if self.sim.settings.dialect == DIALECTS["twilio"]:
                check_reply(method, reply.url.path, reply.status, body)
            return reply.status, body

    async def control(self, method: str, path: str, body: object = None, **options: Any) -> tuple[int, Json]:
        """Send one request to the control surface, without credentials; its reply must be as the description says."""
        url, data = f"{self.sim.url}/simulator{path}", None if body is None else json.dumps(body)
        async with self.session.request(method, url, data=data, **options) as reply:
            answer: Json = await reply.json()
            check_control(method, reply.url.path.removeprefix(self.sim.settings.base_path), reply.status, answer)
            return reply.status, answer

    async def place(self, to: str = ANSWERS, **params: Any) -> Json:
        """Place a call that must be accepted, with callbacks for all its events."""
        form = {"To": to, "From": FROM, "StatusCallback": self.status, "StatusCallbackEvent": ALL_EVENTS} | params
        if not {"Url", "Twiml"} & set(form):
            form["Twiml"] = "<Response><Pause length='600'/></Response>"
        form = {name: value for name, value in form.items() if value is not None}
        status, body = await self.request("POST", f"{self.account}/Calls.json", form)
        assert status == 201, body
        return body

    async def running_call(self) -> str:
        """Place a call that is in progress for a minute; return its SID."""
        call = await self.place(ANSWERS, Twiml="<Response><Pause length='60'/></Response>")
        await self.advance(5)
        return str(call["sid"])

    async def check_goes_on(self, sid: str) -> None:
        """Check that such a call goes on, and ends by itself."""
        assert (await self.fetch(sid))["status"] == "in-progress"
        await self.advance(70)
        assert self.statuses(sid)[-1] == "completed"

    async def incoming(self, url: str, *, caller: str = "+12025550199", **params: Any) -> Json:
        given = {
            "to": FROM,
            "from": caller,
            "url": url,
            "status_callback": self.status,
            "status_callback_event": ALL_EVENTS,
        }
        status, body = await self.control("POST", "/calls", given | params)
        assert status == 201, body
        return body

    async def update(self, sid: str, **params: Any) -> tuple[int, Json]:
        return await self.request("POST", f"{self.account}/Calls/{sid}.json", params)

    async def fetch(self, sid: str) -> Json:
        status, body = await self.request("GET", f"{self.account}/Calls/{sid}.json")
        assert status == 200, body
        return body

    async def calls(self, **query: Any) -> list[Json]:
        status, body = await self.request("GET", f"{self.account}/Calls.json", query)
        assert status == 200, body
        calls: list[Json] = body["calls"]
        return calls

    async def children(self, sid: str) -> list[Json]:
        """The child legs, the first made first."""
        return (await self.calls(ParentCallSid=sid))[::-1]

    async def notes(self, sid: str) -> list[tuple[str, str]]:
        """Code and log level of each notification, the oldest first."""
        status, body = await self.request("GET", f"{self.account}/Calls/{sid}/Notifications.json")
        assert status == 200, body
        return [(note["error_code"], note["log"]) for note in reversed(body["notifications"])]

    async def by_hand(self, sid: str, action: str, **given: object) -> tuple[int, Json]:
        return await self.control("POST", f"/calls/{sid}/{action}", given)

    async def advance(self, seconds: float) -> None:
        await self.sim.advance_async(seconds)

    def callbacks(self, sid: str) -> list[tuple[str, int]]:
        """The callbacks that the listener received about a leg, by SequenceNumber: status and number."""
        mine = [arrived.form for arrived in self.listener.at("/status") if arrived.form["CallSid"] == sid]
        return sorted(((form["CallStatus"], int(form["SequenceNumber"])) for form in mine), key=lambda each: each[1])

    def statuses(self, sid: str) -> list[str]:
        return [status for status, _ in self.callbacks(sid)]

    def last(self, sid: str) -> dict[str, str]:
        """The callback about a leg with the highest SequenceNumber."""
        mine = [arrived.form for arrived in self.listener.at("/status") if arrived.form["CallSid"] == sid]
        return max(mine, key=lambda form: int(form["SequenceNumber"]))


def no_sockets(request: SocketRequest, _events: SocketEvents) -> Socket:
    """Open no WebSocket: none is asked for."""
    raise AssertionError(request.url)


def basic(user: str, secret: str) -> dict[str, str]:
    """The header of Basic auth."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()}


@asynccontextmanager
async def served(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve every path of a free port by a handler of one's own; give the address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)  # 0 would be none
    await runner.setup()
    server = await TcpServer.open(runner.server, cleanup=runner.cleanup, host="127.0.0.1", port=0)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.close()


@asynccontextmanager
async def simulator_setup(**options: Any) -> AsyncIterator[SimulatorSetup]:
    """A simulator whose clock is stopped, its listener, and what is checked of each test in the end.

    Every request was signed, and a board that is made of all that arrived shows the legs as the simulator has them.
    """
    shows_all = not {"faults", "lag", "dialect", "keep_finished", "base_path"} & set(options)
    options.setdefault("seed", 1)
    sim = Simulator(manual_clock=options.pop("manual_clock", True), **options)
    clock: list[Callable[[], float]] = [lambda: 0.0]
    listener = Listener(sim.auth_token, lambda: clock[0]())
    async with served(listener.handle) as listener.url, sim, aiohttp.ClientSession() as session:
        clock[0] = sim.simulated_seconds
        setup = SimulatorSetup(sim, listener, session)
        yield setup
        if shows_all:
            await check_board(setup)
    unsigned = [arrived for arrived in listener.arrived if not arrived.signed]
    assert not unsigned, f"not signed: {unsigned}"


async def check_board(setup: SimulatorSetup) -> None:
    """Check that callctl's board, made of what arrived, has for each leg the status that the simulator has."""
    board, arrived_of = Board(), Counter[str]()
    for arrived in setup.listener.arrived:
        arrived_of[arrived.form.get("CallSid", "")] += arrived.path == "/status"
        with suppress(NotACallEventError):
            board.apply(
                CallEvent.from_form(arrived.form.items(), received_at=datetime.now(UTC), world="", verified=True)
            )
    fired = [each for each in setup.sim.callbacks if each.url == setup.status and each.status]
    fired_of, events = Counter(each.leg for each in fired), {(each.leg, each.event) for each in fired}
    for leg in board.snapshot().legs.values():
        if arrived_of[leg.call_sid] != fired_of[leg.call_sid]:
            continue  # its last callback is still on its way
        status, call = await setup.request("GET", f"{setup.account}/Calls/{leg.call_sid}.json")
        event = {"ringing": "ringing", "in-progress": "answered"}.get(call.get("status", ""), "completed")
        if status == 200 and (leg.call_sid, event) in events:  # it reports this, and here
            assert (leg.status, leg.parent_call_sid) == (call["status"], call["parent_call_sid"])


@cache
def _openapi(file: Path) -> Json:
    text: Json = json.loads(file.read_text())
    return text


def parameters_of(file: Path, path: str) -> set[str]:
    """The parameters of the form that an operation takes by POST."""
    forms = _openapi(file)["paths"][path]["post"]["requestBody"]["content"]
    schema = forms["application/x-www-form-urlencoded"]["schema"]
    if "$ref" in schema:
        schema = _openapi(file)["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return set(schema["properties"])


def _nullable(schema: Any) -> Any:
    """OpenAPI 3.0 says `nullable`; JSON Schema knows it as one more type."""
    if isinstance(schema, list):
        return [_nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _nullable(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") and "type" in made:
        made["type"] = [made["type"], "null"]
    if schema.get("nullable") and "enum" in made:
        made["enum"] = [*made["enum"], None]
    return made


def _components(file: Path) -> Json:
    """The schemas of a description; of Twilio's own, in which none is required, each field is, and no other may be."""
    components: Json = _nullable(_openapi(file)["components"])
    if file == VOICE:
        # Read on live Twilio, and left out of the description (docs/twilio.md, "Recordings").
        for sources in ("recording_enum_source", "call_recording_enum_source"):
            components["schemas"][sources]["enum"].append("StartCallRecordingTwiML")
    for resource in components["schemas"].values() if file == VOICE else ():
        if resource.get("properties"):
            resource |= {"required": list(resource["properties"]), "additionalProperties": False}
    return components


@cache
def _validator(file: Path, path: str, method: str, status: str) -> jsonschema.Draft202012Validator | None:
    """The validator for a reply; None where the text has no body for it. KeyError where it has no such reply."""
    content = _openapi(file)["paths"][path][method]["responses"][status].get("content")
    if content is None:
        return None
    schema = _nullable(content["application/json"]["schema"]) | {"components": _components(file)}
    return jsonschema.Draft202012Validator(schema)


@cache
def _templates(file: Path) -> list[tuple[re.Pattern[str], str]]:
    """The paths of a description as patterns, those without a parameter at their end first."""
    paths = sorted(_openapi(file)["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path) for path in paths]


def _described(path: str) -> tuple[Path, str]:
    """Return the description and the pattern there of a path; an empty one where none describes it."""
    found = ((file, each) for file in (OPENAPI, VOICE) for pattern, each in _templates(file) if pattern.fullmatch(path))
    return next(found, (OPENAPI, ""))


def operation_of(method: str, path: str) -> str:
    """Return the name of the described operation that a request is for. KeyError where there is none."""
    file, template = _described(path)
    return str(_openapi(file)["paths"][template][method.lower()]["operationId"])


def operations(file: Path) -> set[str]:
    """Return the names of a description's operations."""
    return {each["operationId"] for path in _openapi(file)["paths"].values() for each in path.values()}


def fields_with(format_: str) -> set[str]:
    """Return the names of the resources' fields that have a format."""
    resources = [each for file in (CALLS, VOICE) for each in _openapi(file)["components"]["schemas"].values()]
    fields = [pair for resource in resources for pair in resource.get("properties", {}).items()]
    return {name for name, field_ in fields if field_.get("format") == format_}


def check_reply(method: str, path: str, status: int, body: Json) -> None:
    """Check a reply of one of the described operations against Twilio's own description."""
    file, template = _described(path)
    if not template or method.lower() not in _openapi(file)["paths"][template] or status in (403, 413):
        return  # it says nothing of this
    if status >= 400 and file == VOICE:  # refusals are described for calls alone
        file, template, method, status = OPENAPI, "/2010-04-01/Accounts/{AccountSid}/Calls.json", "post", 400
    validator = _validator(file, template, method.lower(), str(status))
    if validator is not None:
        validator.validate(body)


def check_control(method: str, path: str, status: int, body: Json) -> None:
    """Check a reply of the control surface against the description that it serves."""
    described = _openapi(DESCRIPTION)
    template = next((each for pattern, each in _templates(DESCRIPTION) if pattern.fullmatch(path)), None)
    if template is None or method.lower() not in described["paths"][template]:
        assert status in (401, 404, 405), (method, path, status)
        reply: Json = described["components"]["responses"]["404"]
    else:
        reply = described["paths"][template][method.lower()]["responses"][str(status)]
    while "$ref" in reply:
        reply = described["components"]["responses"][reply["$ref"].rpartition("/")[2]]
    schema = reply["content"]["application/json"]["schema"] | {"components": described["components"]}
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(body)
