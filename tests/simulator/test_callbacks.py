"""Status callbacks: signed, with Twilio's headers, repeated as the URL says, and with the faults that were ordered."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aiohttp import web
from events import samples
from simulator.world import ANSWERS, BUSY, FROM, HANGS_UP, NEVER, World, a_world, served

from callctl.simulator import Faults, Received, Reply, Sent
from callctl.simulator import web as simulator_web
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import OutgoingRequest, without_user
from callctl.simulator.web import Overrides, overrides, sign, wire_url


def moved_to(place: str, *, status: int = 302) -> Callable[[object], web.Response]:
    """Return a document that redirects each request."""
    return lambda _: web.Response(status=status, headers={"Location": place})


class TestRequest:
    async def test_a_post_with_twilios_headers_and_a_form(self, world: World) -> None:
        call = await world.place(HANGS_UP)
        await world.advance(10)
        arrived = world.listener.at("/status")
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
            assert (each.form["CallSid"], each.form["AccountSid"]) == (call["sid"], world.sim.account_sid)
            assert (each.form["From"], each.form["Called"]) == (FROM, HANGS_UP)
            assert each.form["CallerZip"] == ""
        assert len({each.headers["I-Twilio-Idempotency-Token"] for each in arrived}) == 4
        assert ["CallDuration" in each.form for each in arrived] == [False, False, False, True]

    async def test_a_get_with_the_pairs_in_the_query(self, world: World) -> None:
        await world.place(BUSY, StatusCallback=f"{world.status}?mine=a%2Fb", StatusCallbackMethod="GET")
        await world.advance(5)
        arrived = world.listener.at("/status")
        assert [each.method for each in arrived] == ["GET"] * 3
        assert {each.form["mine"] for each in arrived} == {"a/b"}
        assert arrived[-1].form["CallStatus"] == "busy"

    async def test_the_fragment_is_neither_sent_nor_signed(self, world: World) -> None:
        await world.place(BUSY, StatusCallback=f"{world.status}#rc=2&rp=all", StatusCallbackEvent=None)
        await world.advance(5)
        assert len(world.listener.at("/status")) == 1

    async def test_a_user_in_the_url_is_sent_and_not_signed(self, world: World) -> None:
        url = world.status.replace("//", "//ann:secret@")
        await world.place(BUSY, StatusCallback=url, StatusCallbackEvent=None)
        await world.advance(5)
        (arrived,) = world.listener.at("/status")
        assert arrived.headers["Authorization"] == "Basic YW5uOnNlY3JldA=="

    @pytest.mark.parametrize("host", ["ex\u2100mple", "[::1", "localhost:99999"])
    @pytest.mark.parametrize("redirected", [False, True])
    async def test_of_what_is_no_url_no_password_is_reported(self, host: str, *, redirected: bool) -> None:
        url, seen = f"http://ann:secret@{host}/", list[Received | Sent]()
        async with a_world(on_traffic=seen.append) as world:
            world.listener.documents["/moved"] = moved_to(url)
            amd = {"AsyncAmdStatusCallback": f"{world.listener.url}/moved" if redirected else url}
            await world.place(MachineDetection="Enable", AsyncAmd="true", StatusCallback=None, **amd)
            await world.advance(10)
        (sent,) = (each for each in seen if isinstance(each, Sent))
        assert sent.reply and sent.reply.error == "not a URL"
        assert "secret" not in repr(sent)

    async def test_what_was_fired_is_listed(self, world: World) -> None:
        call = await world.place(BUSY)
        await world.advance(5)
        fired = world.sim.callbacks
        assert [(each.leg, each.event, each.status, each.sequence) for each in fired] == [
            (call["sid"], "initiated", "initiated", 0),
            (call["sid"], "ringing", "ringing", 1),
            (call["sid"], "completed", "busy", 2),
        ]
        assert [reply.status for each in fired for reply in each.replies] == [204, 204, 204]
        assert [each.at for each in fired] == pytest.approx([0.1, 0.3, 1.3])

    async def test_a_call_back_that_fails_is_noted_on_its_leg(self, world: World) -> None:
        call = await world.place(BUSY, StatusCallback=f"{world.listener.url}/nowhere", StatusCallbackEvent=None)
        await world.advance(5)
        assert await world.notes(call["sid"]) == [("11200", "0")]


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
    assert without_user("https://u:p@example.com:8443/a?b=c#rc=2") == "https://example.com:8443/a?b=c"
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
    async def test_what_is_repeated(self, world: World, fragment: str, status: int, attempts: int) -> None:
        world.listener.documents["/status/odd"] = lambda _: web.Response(status=status)
        url = f"{world.status}/odd{fragment}"
        await world.place(BUSY, StatusCallback=url, StatusCallbackEvent=None)
        await world.advance(5)
        arrived = world.listener.at("/status/odd")
        assert len(arrived) == attempts
        assert len({each.headers["I-Twilio-Idempotency-Token"] for each in arrived}) == 1
        assert len({each.form["SequenceNumber"] for each in arrived}) == 1

    async def test_a_refused_connection_is_tried_twice(self, world: World) -> None:
        await world.place(BUSY, StatusCallback="http://127.0.0.1:1/", StatusCallbackEvent=None)
        await world.place(BUSY, StatusCallback="http://127.0.0.1:1/#rc=4", StatusCallbackEvent=None)
        await world.place(BUSY, StatusCallback="http://127.0.0.1:1/#rp=5xx", StatusCallbackEvent=None)
        await world.advance(5)
        assert [fired.replies[0].attempts for fired in world.sim.callbacks] == [2, 5, 1]
        assert {fired.replies[0].error for fired in world.sim.callbacks} == {"connection failed: Connection refused"}

    @pytest.mark.parametrize(("fragment", "attempts"), [("rt=100", 1), ("rt=100&rp=rt", 2), ("tt=150&rc=5&rp=all", 1)])
    async def test_a_slow_receiver(self, world: World, fragment: str, attempts: int) -> None:
        began: list[int] = []

        async def slow(_: web.Request) -> web.Response:
            began.append(1)
            await asyncio.sleep(0.5)
            return web.Response()

        async with served(slow) as url:
            await world.place(BUSY, StatusCallback=f"{url}/slow#{fragment}", StatusCallbackEvent=None)
            await world.advance(5)
        (fired,) = world.sim.callbacks
        assert (fired.replies[0].status, len(began)) == (None, attempts)

    async def test_a_slow_document_is_given_up_too(self, world: World) -> None:
        async def slow(_: web.Request) -> web.Response:
            await asyncio.sleep(30)
            return web.Response()

        world.listener.documents["/spare"] = "<Response><Pause length='20'/></Response>"
        async with served(slow) as url:
            spare = f"{world.listener.url}/spare"
            call = await world.place(Url=f"{url}/slow#tt=150", FallbackUrl=spare)
            await world.advance(5)
        assert await world.notes(call["sid"]) == [("11200", "0")]
        (request,) = world.listener.at("/spare")
        assert request.form["ErrorCode"] == "11200"

    def test_fifteen_seconds_are_all_there_is(self) -> None:
        usual = overrides("http://127.0.0.1/")
        assert (usual.connect, usual.read, usual.total, usual.retries) == (5.0, 15.0, 15.0, 1)
        assert usual.policy == {"ct"}

    @pytest.mark.parametrize("status", [301, 302, 303])
    async def test_a_redirect_is_followed_as_get_and_loses_the_form(self, world: World, status: int) -> None:
        world.listener.documents["/status/moved"] = moved_to("/status/new", status=status)
        await world.place(BUSY, StatusCallback=f"{world.status}/moved", StatusCallbackEvent=None)
        await world.advance(5)
        (arrived,) = world.listener.at("/status/new")
        assert (arrived.method, arrived.form) == ("GET", {})

    async def test_a_redirect_in_a_circle_is_given_up(self, world: World) -> None:
        world.listener.documents["/status/circle"] = moved_to("/status/circle")
        await world.place(BUSY, StatusCallback=f"{world.status}/circle", StatusCallbackEvent=None)
        await world.advance(5)
        (fired,) = world.sim.callbacks
        assert fired.replies[0].error == "redirected more than 5 times"

    @pytest.mark.parametrize("status", [307, 308])
    async def test_307_keeps_method_and_form(self, world: World, status: int) -> None:
        world.listener.documents["/status/moved"] = moved_to("/status/new", status=status)
        await world.place(BUSY, StatusCallback=f"{world.status}/moved", StatusCallbackEvent=None)
        await world.advance(5)
        (arrived,) = world.listener.at("/status/new")
        assert (arrived.method, arrived.form["CallStatus"]) == ("POST", "busy")

    async def test_a_redirect_may_name_what_must_be_escaped(self, world: World) -> None:
        world.listener.documents["/status/moved"] = moved_to("/status/a b\u00e9?c=d e#f")
        await world.place(BUSY, StatusCallback=f"{world.status}/moved", StatusCallbackEvent=None)
        await world.advance(5)
        (arrived,) = world.listener.at("/status/a b\u00e9")
        assert arrived.form == {"c": "d e"}

    async def test_a_redirect_to_what_is_no_url_fails_the_document(self, world: World) -> None:
        world.listener.documents["/moved"] = moved_to("http://[")
        call = await world.place(Url=f"{world.listener.url}/moved")
        await world.advance(5)
        assert await world.notes(call["sid"]) == [("11200", "0")]
        assert (await world.fetch(call["sid"]))["status"] == "completed"


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
    async def test_nothing_else_is_contacted(self, world: World, url: str) -> None:
        await world.place(BUSY, StatusCallback=url, StatusCallbackEvent=None)
        await world.place(ANSWERS, Url=url, StatusCallback=None)
        await world.advance(5)
        (fired,) = world.sim.callbacks
        assert "--allow-remote" in fired.replies[0].error
        assert fired.replies[0].attempts == 1

    async def test_not_by_way_of_a_redirect_either(self, world: World) -> None:
        world.listener.documents["/status/moved"] = moved_to("http://192.0.2.1/")
        await world.place(BUSY, StatusCallback=f"{world.status}/moved", StatusCallbackEvent=None)
        await world.advance(5)
        (fired,) = world.sim.callbacks
        assert "192.0.2.1" in fired.replies[0].error

    @pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "app.localhost"])
    async def test_localhost_by_name(self, world: World, name: str) -> None:
        url = world.status.replace("127.0.0.1", name)
        await world.place(BUSY, StatusCallback=url, StatusCallbackEvent=None)
        await world.advance(5)
        (fired,) = world.sim.callbacks
        assert fired.replies[0].status == 204
        world.listener.arrived.clear()  # signed for the name, while the listener checks the number


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


class TestFaults:
    async def received(self, *, calls: int = 30, seed: int = 7, **faults: object) -> list[tuple[int, str, str]]:
        """Place calls under faults; return what was received, in order: number of the call, status, token."""
        async with a_world(seed=seed, faults=Faults(**faults)) as world:  # type: ignore[arg-type]
            sids = [(await world.place(BUSY))["sid"] for _ in range(calls)]
            await world.advance(30)
            return [
                (sids.index(each.form["CallSid"]), each.form["CallStatus"], each.headers["I-Twilio-Idempotency-Token"])
                for each in world.listener.at("/status")
            ]

    async def test_drop(self) -> None:
        arrived = await self.received(drop=0.3)
        assert 45 <= len(arrived) <= 80  # of 90
        assert not set(Counter(call for call, _, _ in arrived).values()) <= {3}  # an event is lost, not a call
        assert await self.received(drop=1.0, calls=3) == []

    async def test_duplicate(self) -> None:
        arrived = await self.received(duplicate=0.3)
        counts = Counter(arrived)
        assert len(counts) == 90
        assert set(counts.values()) == {1, 2}
        assert 10 <= list(counts.values()).count(2) <= 45

    async def test_delay(self) -> None:
        async with a_world(faults=Faults(delay=(1.0, 3.0))) as world:
            await world.place(BUSY)
            await world.advance(10)
            fired = {each.event: each.at for each in world.sim.callbacks}
            late = [
                arrived.at - fired[{"busy": "completed"}.get(arrived.form["CallStatus"], arrived.form["CallStatus"])]
                for arrived in world.listener.at("/status")
            ]
            assert all(1.0 <= seconds <= 3.0 for seconds in late)
            assert len(set(late)) == 3

    async def test_shuffle(self) -> None:
        arrived = await self.received(shuffle=True, calls=12)
        rank = {"initiated": 0, "ringing": 1, "busy": 2}
        by_call = [[rank[status] for call, status, _ in arrived if call == each] for each in range(12)]
        assert all(sorted(numbers) == [0, 1, 2] for numbers in by_call)  # none is lost
        assert any(numbers != [0, 1, 2] for numbers in by_call)

    async def test_the_last_event_waits_for_nothing(self) -> None:
        async with a_world(seed=7, faults=Faults(shuffle=True)) as world:
            for _ in range(12):
                await world.place(BUSY, StatusCallbackEvent=None)
            await world.advance(1.5)
            assert [arrived.form["CallStatus"] for arrived in world.listener.at("/status")] == ["busy"] * 12

    async def test_what_nothing_overtakes_is_sent_all_the_same(self) -> None:
        async with a_world(seed=7, faults=Faults(shuffle=True)) as world:
            sids = [(await world.place(NEVER))["sid"] for _ in range(12)]
            await world.advance(0.5)
            early = [len(world.callbacks(sid)) for sid in sids]
            await world.advance(10)  # long before the last of their events
            assert (min(early), {len(world.callbacks(sid)) for sid in sids}) == (1, {2})

    async def test_the_seed_makes_the_same_choices_again(self) -> None:
        faults: dict[str, Any] = {"drop": 0.2, "duplicate": 0.2, "delay": (0.0, 3.0), "shuffle": True}
        first, second = [sorted(await self.received(**faults, calls=10)) for _ in range(2)]
        assert first == second
        assert first != sorted(await self.received(**faults, calls=10, seed=8))

    def test_a_choice_depends_on_call_and_event_alone(self) -> None:
        faults = Faults(drop=0.5, duplicate=0.5)
        one, other = Chance(3), Chance(3)
        for number in range(50):
            other.number("something", number)
        assert one.delivery(faults, "4.2", "ringing") == other.delivery(faults, "4.2", "ringing")
        fates = {one.delivery(faults, str(call), "ringing") for call in range(50)}
        assert len(fates) == 3  # lost, sent, sent twice

    async def test_sids_come_from_the_seed(self) -> None:
        sids = []
        for seed in (1, 1, 2, None, None):
            async with a_world(seed=seed) as world:
                sids.append((await world.place())["sid"])
        assert sids[0] == sids[1]
        assert len(set(sids)) == 4


async def test_callbacks_that_hang_hold_up_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator_web, "CALLBACKS_AT_ONCE", 2)
    requested = asyncio.Event()

    async def hanging(_: web.Request) -> web.Response:
        await requested.wait()
        return web.Response()

    def document(_: dict[str, str]) -> str:
        requested.set()
        return "<Response/>"

    async with a_world(manual_clock=False, speed=50) as world, served(hanging) as url:
        world.listener.documents["/doc"] = document
        for _ in range(4):
            await world.place(BUSY, StatusCallback=url)
        await world.place(ANSWERS, Url=f"{world.listener.url}/doc", StatusCallback=None)
        replies: list[Reply] = []
        async with asyncio.timeout(40):
            while len(replies) < 4 * 3:
                await asyncio.sleep(0.01)
                replies = [reply for each in world.sim.callbacks for reply in each.replies]
        assert {reply.status for reply in replies} == {200}  # None would be one that was given up


async def test_a_document_that_hangs_holds_up_no_other() -> None:
    served_at_last = asyncio.Event()

    async def hanging(_: web.Request) -> web.Response:
        await served_at_last.wait()
        return web.Response(text="<Response/>", content_type="text/xml")

    def document(_: dict[str, str]) -> str:
        served_at_last.set()
        return "<Response/>"

    async with a_world(manual_clock=False, speed=50) as world, served(hanging) as url:
        world.listener.documents["/doc"] = document
        hung = [(await world.place(ANSWERS, Url=url))["sid"] for _ in range(3)]
        await world.place(ANSWERS, Url=f"{world.listener.url}/doc")
        statuses: list[str] = []
        async with asyncio.timeout(40):
            while statuses.count("completed") < 3:
                await asyncio.sleep(0.01)
                statuses = [status for sid in hung for status in world.statuses(sid)]
        assert [await world.notes(sid) for sid in hung] == [[], [], []]  # none was given up


async def test_a_callback_does_not_hold_up_the_api(world: World) -> None:
    """A receiver that asks the API before it answers gets its answer."""
    seen: list[str] = []

    async def asking(request: web.Request) -> web.Response:
        form = await request.post()
        call = await world.fetch(str(form["CallSid"]))
        seen.append(call["status"])
        return web.Response()

    async with served(asking) as url:
        await world.place(BUSY, StatusCallback=url)
        await world.advance(5)
    assert seen == ["queued", "ringing", "busy"]
