"""Status callbacks: signed, with Twilio's headers, repeated as the URL says, and with the faults that were ordered."""

import asyncio
import uuid
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import web
from simulator.setup import ANSWERS, BUSY, FROM, HANGS_UP, SimulatorSetup, served, simulator_setup

from callctl.simulator import Received, Reply, Sent
from callctl.simulator.outgoing import web as simulator_web


def moved_to(location: str, *, status: int = 302) -> Callable[[object], web.Response]:
    """Return a document that redirects each request."""
    return lambda _: web.Response(status=status, headers={"Location": location})


class TestRequest:
    async def test_a_post_with_twilios_headers_and_a_form(self, setup: SimulatorSetup) -> None:
        call = await setup.place(HANGS_UP)
        await setup.advance(10)
        arrived = setup.listener.at("/status")
        assert len(arrived) == 4
        for each in arrived:
            assert (each.method, each.signed) == ("POST", True)
            assert each.headers["User-Agent"] == "TwilioProxy/1.1"
            assert each.headers["Content-Type"] == "application/x-www-form-urlencoded; charset=UTF-8"
            assert (each.headers["Accept"], each.headers["Accept-Encoding"]) == ("*/*", "gzip")
            assert each.headers["X-Home-Region"] == "us1"
            assert str(uuid.UUID(token := each.headers["I-Twilio-Idempotency-Token"])) == token
            assert each.form["CallbackSource"] == "call-progress-events"
            assert parsedate_to_datetime(each.form["Timestamp"]).utcoffset() is not None
            assert each.form["Timestamp"].endswith(" +0000")
            assert (each.form["CallSid"], each.form["AccountSid"]) == (call["sid"], setup.sim.account_sid)
            assert (each.form["From"], each.form["Called"]) == (FROM, HANGS_UP)
            assert each.form["CallerZip"] == ""
        assert len({each.headers["I-Twilio-Idempotency-Token"] for each in arrived}) == 4
        assert ["CallDuration" in each.form for each in arrived] == [False, False, False, True]

    async def test_a_get_with_the_pairs_in_the_query(self, setup: SimulatorSetup) -> None:
        await setup.place(BUSY, StatusCallback=f"{setup.status}?mine=a%2Fb", StatusCallbackMethod="GET")
        await setup.advance(5)
        arrived = setup.listener.at("/status")
        assert [each.method for each in arrived] == ["GET"] * 3
        assert {each.form["mine"] for each in arrived} == {"a/b"}
        assert arrived[-1].form["CallStatus"] == "busy"

    async def test_the_fragment_is_neither_sent_nor_signed(self, setup: SimulatorSetup) -> None:
        await setup.place(BUSY, StatusCallback=f"{setup.status}#rc=2&rp=all", StatusCallbackEvent=None)
        await setup.advance(5)
        assert len(setup.listener.at("/status")) == 1

    async def test_a_user_in_the_url_is_sent_and_not_signed(self, setup: SimulatorSetup) -> None:
        url = setup.status.replace("//", "//ann:secret@")
        await setup.place(BUSY, StatusCallback=url, StatusCallbackEvent=None)
        await setup.advance(5)
        (arrived,) = setup.listener.at("/status")
        assert arrived.headers["Authorization"] == "Basic YW5uOnNlY3JldA=="

    @pytest.mark.parametrize("host", ["ex\u2100mple", "[::1", "localhost:99999"])
    @pytest.mark.parametrize("redirected", [False, True])
    async def test_of_what_is_no_url_no_password_is_reported(self, host: str, *, redirected: bool) -> None:
        url, seen = f"http://ann:secret@{host}/", list[Received | Sent]()
        async with simulator_setup(on_traffic=seen.append) as setup:
            setup.listener.documents["/moved"] = moved_to(url)
            amd = {"AsyncAmdStatusCallback": f"{setup.listener.url}/moved" if redirected else url}
            await setup.place(MachineDetection="Enable", AsyncAmd="true", StatusCallback=None, **amd)
            await setup.advance(10)
        (sent,) = (each for each in seen if isinstance(each, Sent))
        assert sent.reply and sent.reply.error == "not a URL"
        assert "secret" not in repr(sent)

    async def test_what_was_fired_is_listed(self, setup: SimulatorSetup) -> None:
        call = await setup.place(BUSY)
        await setup.advance(5)
        fired = setup.sim.callbacks
        assert [(each.leg, each.event, each.status, each.sequence) for each in fired] == [
            (call["sid"], "initiated", "initiated", 0),
            (call["sid"], "ringing", "ringing", 1),
            (call["sid"], "completed", "busy", 2),
        ]
        assert [reply.status for each in fired for reply in each.replies] == [204, 204, 204]
        assert [each.at for each in fired] == pytest.approx([0.1, 0.3, 1.3])

    async def test_a_call_back_that_fails_is_noted_on_its_leg(self, setup: SimulatorSetup) -> None:
        call = await setup.place(BUSY, StatusCallback=f"{setup.listener.url}/nowhere", StatusCallbackEvent=None)
        await setup.advance(5)
        assert await setup.notes(call["sid"]) == [("11200", "0")]


async def test_callbacks_that_hang_hold_up_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator_web, "CALLBACKS_AT_ONCE", 2)
    requested = asyncio.Event()

    async def hanging(_: web.Request) -> web.Response:
        await requested.wait()
        return web.Response()

    def document(_: dict[str, str]) -> str:
        requested.set()
        return "<Response/>"

    async with simulator_setup(manual_clock=False, speed=50) as setup, served(hanging) as url:
        setup.listener.documents["/doc"] = document
        for _ in range(4):
            await setup.place(BUSY, StatusCallback=url)
        await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc", StatusCallback=None)
        replies: list[Reply] = []
        async with asyncio.timeout(40):
            while len(replies) < 4 * 3:
                await asyncio.sleep(0.01)
                replies = [reply for each in setup.sim.callbacks for reply in each.replies]
        assert {reply.status for reply in replies} == {200}  # None would be one that was given up


async def test_a_document_that_hangs_holds_up_no_other() -> None:
    served_at_last = asyncio.Event()

    async def hanging(_: web.Request) -> web.Response:
        await served_at_last.wait()
        return web.Response(text="<Response/>", content_type="text/xml")

    def document(_: dict[str, str]) -> str:
        served_at_last.set()
        return "<Response/>"

    async with simulator_setup(manual_clock=False, speed=50) as setup, served(hanging) as url:
        setup.listener.documents["/doc"] = document
        hung = [(await setup.place(ANSWERS, Url=url))["sid"] for _ in range(3)]
        await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc")
        statuses: list[str] = []
        async with asyncio.timeout(40):
            while statuses.count("completed") < 3:
                await asyncio.sleep(0.01)
                statuses = [status for sid in hung for status in setup.statuses(sid)]
        assert [await setup.notes(sid) for sid in hung] == [[], [], []]  # none was given up


async def test_a_callback_does_not_hold_up_the_api(setup: SimulatorSetup) -> None:
    """A receiver that asks the API before it answers gets its answer."""
    seen: list[str] = []

    async def asking(request: web.Request) -> web.Response:
        form = await request.post()
        call = await setup.fetch(str(form["CallSid"]))
        seen.append(call["status"])
        return web.Response()

    async with served(asking) as url:
        await setup.place(BUSY, StatusCallback=url)
        await setup.advance(5)
    assert seen == ["queued", "ringing", "busy"]
