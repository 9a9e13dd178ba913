"""Malformed requests and documents get an error, never a hang or a crash, and the running calls go on."""

import asyncio
import json
import time
from contextlib import suppress

import pytest
from aiohttp import web
from simulator.world import ANSWERS, FROM, World, served

from callctl.simulator.twiml import parser
from callctl.simulator.twiml.parser import MAX_DEPTH, XmlError, read_xml

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]><Response><Say>&j;</Say></Response>"
)
OUTSIDE = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><Response><Say>&x;</Say></Response>'
BROKEN = [
    "",
    " ",
    "<",
    "<Response",
    "<Response><Say></Response>",
    "<Response/><Response/>",
    "<a:Response/>",
    "&lt;Response/>",
    "\x00",
    "<Response>\x0b</Response>",
    BOMB,
    OUTSIDE,
    "<Response>" + "<Say>" * (MAX_DEPTH + 1) + "</Say>" * (MAX_DEPTH + 1) + "</Response>",
    "<Response>&undefined;</Response>",
    '\n<?xml version="1.0"?><Response/>',
    "{}",
]


@pytest.mark.parametrize("document", BROKEN, ids=range(len(BROKEN)))
def test_a_document_that_is_none(document: str) -> None:
    with pytest.raises(parser.TwimlError):
        parser.parse(document)
    with pytest.raises(parser.TwimlError):
        parser.parse(document.encode())


@pytest.mark.parametrize("document", [bytes(range(256)), b"\xff\xfe<\x00", b"\x80" * 50_000])
def test_binary_junk_is_no_document(document: bytes) -> None:
    with pytest.raises(XmlError):
        read_xml(document)


def test_an_encoding_that_is_none() -> None:
    with pytest.raises(XmlError):
        read_xml(b'<?xml version="1.0" encoding="no-such"?><Response/>')


def test_numbers_that_are_none_count_as_the_default() -> None:
    (pause,) = parser.parse("<Response><Pause length='nan'/></Response>")
    assert pause == parser.Sound("Pause", 1.0)
    (pause,) = parser.parse("<Response><Pause length='inf'/></Response>")
    assert pause == parser.Sound("Pause", 86400.0)
    (say,) = parser.parse("<Response><Say loop='1e300'>a</Say></Response>")
    assert isinstance(say, parser.Sound)
    assert say.seconds is not None and say.seconds < 1e5
    (gather,) = parser.parse("<Response><Gather numDigits='-1' timeout='x'/></Response>")
    assert isinstance(gather, parser.Gather)
    assert (gather.digits, gather.timeout) == (None, 5.0)


async def a_running_call(world: World) -> str:
    call = await world.place(ANSWERS, Twiml="<Response><Pause length='60'/></Response>")
    await world.advance(5)
    return str(call["sid"])


async def goes_on(world: World, sid: str) -> None:
    assert (await world.fetch(sid))["status"] == "in-progress"
    await world.advance(70)
    assert world.statuses(sid)[-1] == "completed"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * 900_000, 413),
        (b"&".join(b"a%d=b" % n for n in range(8000)), 400),
        (b"&" * 60_000, 400),
        (b"To=%ff%fe&From=%00", 400),
        (bytes(range(256)), 400),
        (b"To=+12025550100&From=%2B15005550006&Twiml=%00", 400),
        (b"To=%2B12025550100&From=%2B15005550006&Twiml=%3CResponse/%3E&CallToken=%00", 400),
        (json.dumps({"To": ANSWERS, "From": FROM}).encode(), 400),
        (b"To=" + b"+" * 60_000, 400),
        (b"", 400),
    ],
)
async def test_a_body_that_is_no_form(world: World, body: bytes, status: int) -> None:
    sid = await a_running_call(world)
    for path in ("/Calls.json", f"/Calls/{sid}.json"):
        url = f"{world.sim.url}{world.account}{path}"
        async with world.session.post(url, data=body, headers=world.headers) as reply:
            assert reply.status == status
            assert (await reply.json())["code"] >= 10000
    await goes_on(world, sid)


async def test_ten_thousand_parameters(world: World) -> None:
    sid = await a_running_call(world)
    form = {f"P{n}": "" for n in range(10_000)} | {"To": ANSWERS, "From": FROM, "Twiml": "<Response/>"}
    status, body = await world.request("POST", f"{world.account}/Calls.json", form)
    assert (status, body["status"]) == (413, 413)  # they don't fit into the 64 KB that are read
    await goes_on(world, sid)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/x-www-form-urlencoded; charset=no-such"},
    ],
)
async def test_a_body_that_is_not_what_its_headers_say(world: World, headers: dict[str, str]) -> None:
    sid = await a_running_call(world)
    for path in (f"{world.account}/Calls.json", "/simulator/survey"):
        url = world.sim.url + path
        async with world.session.post(url, data=b"\xff=junk", headers=world.headers | headers) as reply:
            assert reply.status == 400
            assert (await reply.json())["code"] == 20001
    await goes_on(world, sid)


@pytest.mark.parametrize("document", [BOMB, OUTSIDE, "<Response><Say>", "\x01\x02"])
async def test_a_twiml_parameter_that_is_none(world: World, document: str) -> None:
    sid = await a_running_call(world)
    form = {"To": ANSWERS, "From": FROM, "Twiml": document}
    status, body = await world.request("POST", f"{world.account}/Calls.json", form)
    assert (status, body["code"]) == (400, 12100)
    status, body = await world.update(sid, Twiml=document)
    assert (status, body["code"]) == (400, 12100)
    await goes_on(world, sid)


@pytest.mark.parametrize("body", [BOMB.encode(), OUTSIDE.encode(), bytes(range(256)) * 100, b"x" * 5_000_000])
async def test_a_fetched_document_that_is_none(world: World, body: bytes) -> None:
    sid = await a_running_call(world)
    world.listener.documents["/junk"] = lambda _: web.Response(body=body, content_type="text/xml")
    call = await world.place(ANSWERS, Url=f"{world.listener.url}/junk")
    began = time.process_time()
    await world.advance(5)
    assert time.process_time() - began < 20  # it expands nothing: an entity bomb would take far longer, or all memory
    assert await world.notes(call["sid"]) == [("12100", "0")]
    await goes_on(world, sid)


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /2010-04-01 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http(world: World, junk: bytes) -> None:
    sid = await a_running_call(world)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.sim.url.rpartition(":")[2]))
    writer.write(junk)
    writer.write_eof()
    with suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(), 20)
        assert not answer or b" 4" in answer.split(b"\r\n")[0]
    writer.close()
    await goes_on(world, sid)


async def test_a_reply_that_never_ends_is_given_up(world: World) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/xml"})
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"<Response>" * 1000)
        return response

    sid = await a_running_call(world)
    async with served(endless) as url:
        call = await world.place(ANSWERS, Url=url)
        await world.advance(5)
    assert await world.notes(call["sid"]) == [("12100", "0")]
    await goes_on(world, sid)
