"""Documents as they are read: how long verbs take, and malformed ones, which get an error and never a hang."""

from __future__ import annotations

import time

import pytest
from aiohttp import web
from simulator.setup import ANSWERS, FROM, SimulatorSetup

from callctl.simulator.twiml import parser
from callctl.simulator.twiml.document import Verb
from callctl.simulator.twiml.elements import MAX_DEPTH, XmlError, read_xml
from callctl.simulator.twiml.verbs.gather import Gather
from callctl.simulator.twiml.verbs.sound import Sound

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


def verb_of(document: str) -> Verb | None:
    (item,) = parser.parse(f"<Response>{document}</Response>")
    return item.verb


def test_numbers_that_are_none_count_as_the_default() -> None:
    assert verb_of("<Pause length='nan'/>") == Sound("Pause", 1.0)
    assert verb_of("<Pause length='inf'/>") == Sound("Pause", 86400.0)
    say = verb_of("<Say loop='1e300'>a</Say>")
    assert isinstance(say, Sound)
    assert say.seconds is not None and say.seconds < 1e5
    gather = verb_of("<Gather numDigits='-1' timeout='x'/>")
    assert isinstance(gather, Gather)
    assert (gather.digits, gather.timeout) == (None, 5.0)


@pytest.mark.parametrize("document", [BOMB, OUTSIDE, "<Response><Say>", "\x01\x02"])
async def test_a_twiml_parameter_that_is_none(setup: SimulatorSetup, document: str) -> None:
    sid = await setup.running_call()
    form = {"To": ANSWERS, "From": FROM, "Twiml": document}
    status, body = await setup.request("POST", f"{setup.account}/Calls.json", form)
    assert (status, body["code"]) == (400, 12100)
    status, body = await setup.update(sid, Twiml=document)
    assert (status, body["code"]) == (400, 12100)
    await setup.check_goes_on(sid)


@pytest.mark.parametrize("body", [BOMB.encode(), OUTSIDE.encode(), bytes(range(256)) * 100, b"x" * 5_000_000])
async def test_a_fetched_document_that_is_none(setup: SimulatorSetup, body: bytes) -> None:
    sid = await setup.running_call()
    setup.listener.documents["/junk"] = lambda _: web.Response(body=body, content_type="text/xml")
    call = await setup.place(ANSWERS, Url=f"{setup.listener.url}/junk")
    began = time.process_time()
    await setup.advance(5)
    assert time.process_time() - began < 20  # it expands nothing: an entity bomb would take far longer, or all memory
    assert await setup.notes(call["sid"]) == [("12100", "0")]
    await setup.check_goes_on(sid)


def seconds_of(document: str) -> float | None:
    sound = verb_of(document)
    assert isinstance(sound, Sound)
    return sound.seconds


def test_how_long_things_take() -> None:
    assert seconds_of("<Say>0123456789</Say>") == pytest.approx(0.6)  # 60 ms a character
    assert seconds_of('<Say loop="3">0123456789</Say>') == pytest.approx(1.8)
    assert seconds_of("<Say>01234<break/><emphasis>56789</emphasis></Say>") == pytest.approx(0.66)
    assert seconds_of('<Say loop="0">on and on</Say>') is None
    assert seconds_of("<Play>http://127.0.0.1:9/x.mp3</Play>") == 2
    assert seconds_of('<Play loop="2">http://127.0.0.1:9/x.mp3</Play>') == 4
    assert seconds_of("<Pause/>") == 1
    assert seconds_of('<Pause length="7"/>') == 7
    assert seconds_of('<Pause length="-7"/>') == 1


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("<Say voice='alice' language='en'>a <break/></Say>", ()),
        ("<Say volume='11'>a</Say>", ("volume of <Say>",)),
        ("<Pay/>", ("<Pay>",)),
        ("<Gather bargeIn='false'/>", ('bargeIn="false" of <Gather>',)),
        ("<Gather bargeIn='true'/>", ()),
        ("<Dial><Conference record='true'>a</Conference></Dial>", ('record="true" of <Conference>',)),
        ("<Dial><Conference record='record-from-start'>a</Conference></Dial>", ()),
        ("<Gather><Say loudly='yes'>a</Say><Pay/></Gather>", ("loudly of <Say>", "<Pay> in <Gather>")),
        (
            "<Dial tone='us'><Number ring='no'>+12025550100</Number></Dial>",
            ("tone of <Dial>", "ring of <Number>"),
        ),
        ("<Dial>" + "<Number>+12025550100</Number>" * 11 + "</Dial>", ("<Number> in <Dial>",)),
    ],
)
def test_what_nobody_reads_is_not_imitated(document: str, expected: tuple[str, ...]) -> None:
    (item,) = parser.parse(f"<Response>{document}</Response>")
    assert item.not_imitated == expected


def test_keys_of_play_take_their_time() -> None:
    assert seconds_of('<Play digits="ww12#"/>') == pytest.approx(1.75)
