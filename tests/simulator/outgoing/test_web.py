"""Requests to the application: how they are signed, sent and repeated, and where to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from aiohttp import web
from events import samples
from simulator.setup import ANSWERS, BUSY, SimulatorSetup, served

from callctl.simulator.http_requests import OutgoingRequest
from callctl.simulator.outgoing.web import Overrides, Web, overrides, sign, wire_url
from callctl.support.urls import without_user_and_fragment


def moved_to(location: str, *, status: int = 302) -> Callable[[object], web.Response]:
    """Return a document that redirects each request."""
    return lambda _: web.Response(status=status, headers={"Location": location})


def test_signatures_agree_with_the_vectors_of_twilios_libraries() -> None:
    vectors = samples("signature_vectors.json")
    checked = 0
    for each in vectors:
        plain = each["params"] is None or all(isinstance(value, str) for value in each["params"].values())
        # Libraries try a URL with and without its port; a signature is made of the URL as it is.
        # They don't drop a user either, though Twilio says it is never signed.
        as_given = each.get("plain_hmac_of_url_matches", False) and "@" not in each["url"]
        if each.get("all_agree") and each["valid"] and plain and as_given and each["body"] is None:
            assert sign(each["token"], each["url"], each["params"] or {}) == each["signature"], each["name"]
            checked += 1
    assert checked > 15


def test_what_is_never_signed() -> None:
    assert without_user_and_fragment("https://u:p@example.com:8443/a?b=c#rc=2") == "https://example.com:8443/a?b=c"
    assert sign("12345", "https://u:p@mycompany.com/x#rc=1", {}) == sign("12345", "https://mycompany.com/x", {})


class TestOverrides:
    @pytest.mark.parametrize(
        ("fragment", "expected"),
        [
            ("", Overrides()),
            ("rc=0", Overrides(retries=0)),
            ("rc=5&rp=4xx,5xx", Overrides(retries=5, policy=frozenset({"4xx", "5xx"}))),
            ("ct=100&rt=200&tt=300", Overrides(connect=0.1, read=0.2, total=0.3)),
            ("rc=6&ct=99&rt=15001&tt=x&rp=never", Overrides()),
            ("rc=-1&e=dublin&sni=x", Overrides()),
            ("rp=all", Overrides(policy=frozenset({"all"}))),
        ],
    )
    def test_parsing(self, fragment: str, expected: Overrides) -> None:
        assert overrides(f"http://127.0.0.1/#{fragment}") == expected

    @pytest.mark.parametrize(
        ("fragment", "status", "attempts"),
        [
            ("", 500, 1),  # by default only a failed connection is worth another try
            ("#rp=5xx", 500, 2),
            ("#rc=3&rp=5xx", 500, 4),
            ("#rc=3&rp=4xx", 500, 1),
            ("#rc=3&rp=4xx", 404, 4),
            ("#rc=2&rp=all", 404, 3),
            ("#rc=0&rp=all", 404, 1),
            ("#rc=3&rp=all", 200, 1),
        ],
    )
    async def test_what_is_repeated(self, setup: SimulatorSetup, fragment: str, status: int, attempts: int) -> None:
        setup.listener.documents["/status/odd"] = lambda _: web.Response(status=status)
        url = f"{setup.status}/odd{fragment}"
        await setup.place(BUSY, StatusCallback=url, StatusCallbackEvent=None)
        await setup.advance(5)
        arrived = setup.listener.at("/status/odd")
        assert len(arrived) == attempts
        assert len({each.headers["I-Twilio-Idempotency-Token"] for each in arrived}) == 1
        assert len({each.form["SequenceNumber"] for each in arrived}) == 1

    async def test_a_refused_connection_is_tried_twice(self, setup: SimulatorSetup) -> None:
        await setup.place(BUSY, StatusCallback="http://127.0.0.1:1/", StatusCallbackEvent=None)
        await setup.place(BUSY, StatusCallback="http://127.0.0.1:1/#rc=4", StatusCallbackEvent=None)
        await setup.place(BUSY, StatusCallback="http://127.0.0.1:1/#rp=5xx", StatusCallbackEvent=None)
        await setup.advance(5)
        assert [fired.replies[0].attempts for fired in setup.sim.callbacks] == [2, 5, 1]
        assert {fired.replies[0].error for fired in setup.sim.callbacks} == {"connection failed: Connection refused"}

    @pytest.mark.parametrize(("fragment", "attempts"), [("rt=100", 1), ("rt=100&rp=rt", 2), ("tt=150&rc=5&rp=all", 1)])
    async def test_a_slow_receiver(self, setup: SimulatorSetup, fragment: str, attempts: int) -> None:
        began: list[int] = []

        async def slow(_: web.Request) -> web.Response:
            began.append(1)
            await asyncio.sleep(0.5)
            return web.Response()

        async with served(slow) as url:
            await setup.place(BUSY, StatusCallback=f"{url}/slow#{fragment}", StatusCallbackEvent=None)
            await setup.advance(5)
        (fired,) = setup.sim.callbacks
        assert (fired.replies[0].status, len(began)) == (None, attempts)

    async def test_a_slow_document_is_given_up_too(self, setup: SimulatorSetup) -> None:
        async def slow(_: web.Request) -> web.Response:
            await asyncio.sleep(30)
            return web.Response()

        setup.listener.documents["/spare"] = "<Response><Pause length='20'/></Response>"
        async with served(slow) as url:
            spare = f"{setup.listener.url}/spare"
            call = await setup.place(Url=f"{url}/slow#tt=150", FallbackUrl=spare)
            await setup.advance(5)
        assert await setup.notes(call["sid"]) == [("11200", "0")]
        (request,) = setup.listener.at("/spare")
        assert request.form["ErrorCode"] == "11200"

    def test_fifteen_seconds_are_all_there_is(self) -> None:
        usual = overrides("http://127.0.0.1/")
        assert (usual.connect, usual.read, usual.total, usual.retries) == (5.0, 15.0, 15.0, 1)
        assert usual.policy == {"ct"}

    @pytest.mark.parametrize("status", [301, 302, 303])
    async def test_a_redirect_is_followed_as_get_and_loses_the_form(self, setup: SimulatorSetup, status: int) -> None:
        setup.listener.documents["/status/moved"] = moved_to("/status/new", status=status)
        await setup.place(BUSY, StatusCallback=f"{setup.status}/moved", StatusCallbackEvent=None)
        await setup.advance(5)
        (arrived,) = setup.listener.at("/status/new")
        assert (arrived.method, arrived.form) == ("GET", {})

    async def test_a_redirect_in_a_circle_is_given_up(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/status/circle"] = moved_to("/status/circle")
        await setup.place(BUSY, StatusCallback=f"{setup.status}/circle", StatusCallbackEvent=None)
        await setup.advance(5)
        (fired,) = setup.sim.callbacks
        assert fired.replies[0].error == "redirected more than 5 times"

    @pytest.mark.parametrize("status", [307, 308])
    async def test_307_keeps_method_and_form(self, setup: SimulatorSetup, status: int) -> None:
        setup.listener.documents["/status/moved"] = moved_to("/status/new", status=status)
        await setup.place(BUSY, StatusCallback=f"{setup.status}/moved", StatusCallbackEvent=None)
        await setup.advance(5)
        (arrived,) = setup.listener.at("/status/new")
        assert (arrived.method, arrived.form["CallStatus"]) == ("POST", "busy")

    async def test_a_redirect_may_name_what_must_be_escaped(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/status/moved"] = moved_to("/status/a b\u00e9?c=d e#f")
        await setup.place(BUSY, StatusCallback=f"{setup.status}/moved", StatusCallbackEvent=None)
        await setup.advance(5)
        (arrived,) = setup.listener.at("/status/a b\u00e9")
        assert arrived.form == {"c": "d e"}

    async def test_a_redirect_to_what_is_no_url_fails_the_document(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/moved"] = moved_to("http://[")
        call = await setup.place(Url=f"{setup.listener.url}/moved")
        await setup.advance(5)
        assert await setup.notes(call["sid"]) == [("11200", "0")]
        assert (await setup.fetch(call["sid"]))["status"] == "completed"


class TestLoopbackOnly:
    @pytest.mark.parametrize(
        "url",
        [
            "http://192.0.2.1/",
            "http://example.com/",
            "http://localhost.example.com/",
            "http://127.0.0.1@192.0.2.1/",
            "http://0.0.0.0/",
            "http://[2001:db8::1]/",
            "http://[::ffff:192.0.2.1]/",
            "http://[::1%25eth0]/",
            "http://2130706433/",
        ],
    )
    async def test_nothing_else_is_contacted(self, setup: SimulatorSetup, url: str) -> None:
        await setup.place(BUSY, StatusCallback=url, StatusCallbackEvent=None)
        await setup.place(ANSWERS, Url=url, StatusCallback=None)
        await setup.advance(5)
        (fired,) = setup.sim.callbacks
        assert "--allow-remote" in fired.replies[0].error
        assert fired.replies[0].attempts == 1

    async def test_not_by_way_of_a_redirect_either(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/status/moved"] = moved_to("http://192.0.2.1/")
        await setup.place(BUSY, StatusCallback=f"{setup.status}/moved", StatusCallbackEvent=None)
        await setup.advance(5)
        (fired,) = setup.sim.callbacks
        assert "192.0.2.1" in fired.replies[0].error

    @pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "app.localhost"])
    async def test_localhost_by_name(self, setup: SimulatorSetup, name: str) -> None:
        url = setup.status.replace("127.0.0.1", name)
        await setup.place(BUSY, StatusCallback=url, StatusCallbackEvent=None)
        await setup.advance(5)
        (fired,) = setup.sim.callbacks
        assert fired.replies[0].status == 204
        setup.listener.arrived.clear()  # signed for the name, while the listener checks the number


@pytest.mark.parametrize(
    ("url", "method", "expected"),
    [
        ("http://127.0.0.1:80", "POST", "http://127.0.0.1:80/"),
        ("http://127.0.0.1/a?b#c", "POST", "http://127.0.0.1/a?b"),
        ("http://127.0.0.1/a?b=c", "GET", "http://127.0.0.1/a?b=c&To=%2B1+2"),
        ("http://127.0.0.1/é x", "POST", "http://127.0.0.1/%C3%A9%20x"),
        ("http://127.0.0.1/%7E'@:", "POST", "http://127.0.0.1/%7E'@:"),
    ],
)
def test_the_url_on_the_wire(url: str, method: str, expected: str) -> None:
    assert wire_url(OutgoingRequest(url, method, {"To": "+1 2"})) == expected


async def test_a_reply_that_never_ends_is_given_up(setup: SimulatorSetup) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/xml"})
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"<Response>" * 1000)
        return response

    sid = await setup.running_call()
    async with served(endless) as url:
        call = await setup.place(ANSWERS, Url=url)
        await setup.advance(5)
    assert await setup.notes(call["sid"]) == [("12100", "0")]
    await setup.check_goes_on(sid)


async def test_after_the_end_nothing_is_requested() -> None:
    ended = Web(auth_token="x", allow_remote=False)
    await ended.close()
    tasks = asyncio.all_tasks()
    stop = ended.send(OutgoingRequest("http://127.0.0.1:9/", "POST", {}), lambda _: pytest.fail("answered"))
    assert asyncio.all_tasks() == tasks
    stop()
