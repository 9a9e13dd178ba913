"""The REST side: credentials, operations, errors by code, lists and their pages."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from events import samples
from paths import DATA
from simulator.setup import ANSWERS, BUSY, FROM, HANGS_UP, SimulatorSetup, basic, simulator_setup

from callctl.simulator import Simulator
from callctl.simulator.settings import AUTH_TOKEN

TWIML = "<Response><Pause length='60'/></Response>"
GOOD = {"To": ANSWERS, "From": FROM, "Twiml": TWIML}


async def create(setup: SimulatorSetup, **params: str | None) -> tuple[int, dict[str, object]]:
    form = {name: value for name, value in (GOOD | params).items() if value is not None}
    return await setup.request("POST", f"{setup.account}/Calls.json", form)


class TestCredentials:
    @pytest.mark.parametrize(("user", "account"), [("account", 200), ("key", 401)])
    async def test_both_are_let_in_and_the_standard_key_can_not_read_the_account(
        self, setup: SimulatorSetup, user: str, account: int
    ) -> None:
        sim = setup.sim
        pair = (sim.account_sid, sim.auth_token) if user == "account" else (sim.api_key, sim.api_secret)
        status, _ = await setup.request("GET", f"{setup.account}/Calls.json", headers=basic(*pair))
        assert status == 200
        status, body = await setup.request("GET", f"{setup.account}.json", headers=basic(*pair))
        assert status == account
        if status == 200:
            assert (body["sid"], body["status"]) == (sim.account_sid, "active")
        else:
            assert body["code"] == 20003

    async def test_a_suspended_account_can_only_be_read(self) -> None:
        async with simulator_setup(account_status="suspended", account_name="Example Ltd") as setup:
            status, body = await setup.request("GET", f"{setup.account}.json")
            assert (status, body["status"], body["friendly_name"]) == (200, "suspended", "Example Ltd")
            for method in ("GET", "POST"):
                status, body = await setup.request(method, f"{setup.account}/Calls.json")
                assert (status, body["code"]) == (403, 20403)

    async def test_test_credentials_place_calls_without_callbacks_and_do_nothing_else(self) -> None:
        async with simulator_setup(test_credentials=True) as setup:
            status, call = await create(setup, To=BUSY, StatusCallback=setup.status)
            assert status == 201
            await setup.advance(60)
            assert setup.sim.callbacks == ()
            for path in (".json", "/Calls.json", f"/Calls/{call['sid']}.json"):
                status, body = await setup.request("GET", f"{setup.account}{path}")
                assert (status, body["code"]) == (403, 20008)

    def test_an_account_has_one_of_three_statuses(self) -> None:
        with pytest.raises(ValueError, match="account_status must be one of active, suspended, closed"):
            Simulator(account_status="asleep")

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Basic"},
            {"Authorization": "Basic ###"},
            {"Authorization": "Bearer x"},
            basic("AC" + "0" * 32, "wrong"),
            basic("SK" + "0" * 32, AUTH_TOKEN),
            basic("", ""),
            basic("ä", "ö"),
        ],
    )
    async def test_others_are_not_and_this_comes_before_existence(
        self, setup: SimulatorSetup, headers: dict[str, str]
    ) -> None:
        for path in ("Calls.json", "Calls/CA00000000000000000000000000000000.json"):
            async with setup.session.get(f"{setup.sim.url}{setup.account}/{path}", headers=headers) as reply:
                assert reply.status == 401
                assert reply.headers["WWW-Authenticate"] == 'Basic realm="Twilio API"'
                assert await reply.json() == {
                    "code": 20003,
                    "message": "Authenticate",
                    "more_info": "https://www.twilio.com/docs/errors/20003",
                    "status": 401,
                }

    async def test_another_account_in_the_path_is_not_found(self, setup: SimulatorSetup) -> None:
        path = "/2010-04-01/Accounts/AC11111111111111111111111111111111/Calls.json"
        status, body = await setup.request("GET", path)
        assert (status, body["code"]) == (404, 20404)
        assert body["message"] == f"The requested resource {path} was not found"

    async def test_a_resource_that_is_not_imitated_is_said_to_be_none(self, setup: SimulatorSetup) -> None:
        path = f"{setup.account}/Messages.json"
        status, body = await setup.request("POST", path, {"To": ANSWERS, "From": FROM, "Body": "hello"})
        assert (status, body["code"]) == (404, 20404)
        assert body["message"] == f"The requested resource {path} was not found: the simulator does not imitate it"

    async def test_no_credentials_are_recorded(self, setup: SimulatorSetup) -> None:
        await setup.calls()
        assert "Authorization" not in setup.sim.requests[-1].headers
        assert setup.sim.auth_token not in repr(setup.sim.requests)


class TestErrors:
    @pytest.mark.parametrize(
        ("params", "code"),
        [
            ({"To": None, "Twiml": None, "From": None}, 21201),
            ({"To": ""}, 21201),
            ({"Twiml": None, "From": None}, 21205),
            ({"Twiml": None}, 21205),
            ({"Url": "survey"}, 21205),
            ({"Url": "http://host:port/"}, 21205),
            ({"Url": "ftp://127.0.0.1/"}, 21205),
            ({"Twiml": None, "ApplicationSid": "AP" + "0" * 32}, 21218),
            ({"From": None}, 21213),
            ({"From": "+15005550001"}, 21212),
            ({"From": "+15005550007"}, 21210),
            ({"From": "+15005550000"}, 21210),
            ({"From": "+15005559999"}, 21210),
            ({"From": "12"}, 21212),
            ({"From": "client:ann"}, 21212),
            ({"To": "+15005550001"}, 21217),
            ({"To": "+15005550002"}, 21214),
            ({"To": "+15005550003"}, 21215),
            ({"To": "+15005550004"}, 21216),
            ({"To": "12"}, 21211),
            ({"To": "nobody"}, 21211),
            ({"To": FROM}, 21211),
            ({"StatusCallback": "status"}, 21609),
            ({"StatusCallback": "http://my_host/"}, 21609),
            ({"StatusCallback": f"http://127.0.0.1/{'x' * 4000}"}, 21609),
            ({"Method": "PUT"}, 21200),
            ({"StatusCallback": "http://127.0.0.1/", "StatusCallbackMethod": "DELETE"}, 21200),
            ({"Timeout": "soon"}, 20001),
            ({"Timeout": "0"}, 20001),
            ({"SendDigits": "call me"}, 20001),
            ({"SendDigits": "1" * 33}, 20001),
            ({"MachineDetection": "Maybe"}, 20001),
            ({"Twiml": "<Response>"}, 12100),
            ({"Twiml": f"<Response>{' ' * 4000}</Response>"}, 12100),
        ],
    )
    async def test_codes(self, setup: SimulatorSetup, params: dict[str, str | None], code: int) -> None:
        status, body = await create(setup, **params)
        assert (status, body["code"], body["status"]) == (400, code, 400)
        assert body["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
        assert await setup.calls() == []

    async def test_the_wording_of_live_bodies(self, setup: SimulatorSetup) -> None:
        published = samples("errors.json")
        live = {each["code"]: each["body"] for each in published if each["quality"] == "live body recorded"}
        for params, code in (({"To": None}, 21201), ({"Twiml": None}, 21205)):
            _, body = await create(setup, **params)
            known = [each["body"] for each in published if each["code"] == code]
            assert body in known
        assert live[20003]["message"] == "Authenticate"

    @pytest.mark.parametrize("sid", ["CA00000000000000000000000000000000", "nonsense", "CA%00"])
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    async def test_an_unknown_sid_is_not_found(self, setup: SimulatorSetup, sid: str, method: str) -> None:
        status, body = await setup.request(method, f"{setup.account}/Calls/{sid}.json", {"Status": "completed"})
        assert (status, body["code"]) == (404, 20404)
        assert body["message"].endswith(".json was not found")

    async def test_a_path_that_is_not_served(self, setup: SimulatorSetup) -> None:
        status, body = await setup.request("GET", f"{setup.account}/Messages.json")
        assert (status, body["code"]) == (404, 20404)

    @pytest.mark.parametrize(("method", "path"), [("PUT", "/Calls.json"), ("DELETE", "/Calls.json"), ("HEAD", ".json")])
    async def test_a_method_that_is_not_allowed(self, setup: SimulatorSetup, method: str, path: str) -> None:
        url = f"{setup.sim.url}{setup.account}{path}"
        async with setup.session.request(method, url, headers=setup.headers) as reply:
            assert reply.status == 405
            assert "GET" in reply.headers["Allow"]
            if method != "HEAD":
                assert (await reply.json())["code"] == 20004

    async def test_a_body_that_is_too_large(self, setup: SimulatorSetup) -> None:
        status, body = await create(setup, CallToken="x" * 70_000)
        assert (status, body["status"]) == (413, 413)

    async def test_more_requests_at_once_than_allowed(self) -> None:
        async with simulator_setup(concurrency=1, latency=0.3) as setup:
            path = f"{setup.account}/Calls.json"
            replies = await asyncio.gather(*(setup.request("GET", path) for _ in range(3)))
            assert sorted(status for status, _ in replies) == [200, 429, 429]
            refused = [body for status, body in replies if status == 429]
            assert {body["code"] for body in refused} == {20429}
            assert (await setup.request("GET", path))[0] == 200


class TestCreate:
    async def test_headers(self, setup: SimulatorSetup) -> None:
        url = f"{setup.sim.url}{setup.account}/Calls.json"
        async with setup.session.post(url, data=GOOD, headers=setup.headers) as reply:
            assert reply.status == 201
            assert reply.headers["Content-Type"].startswith("application/json")
            assert reply.headers["Twilio-Request-Id"].startswith("RQ")
            assert len(reply.headers["Twilio-Request-Id"]) == 34
            assert reply.headers["Twilio-Concurrent-Requests"] == "1"

    async def test_requests_at_once_are_counted(self) -> None:
        async with simulator_setup(latency=0.3) as setup:

            async def counted() -> str:
                url = f"{setup.sim.url}{setup.account}/Calls.json"
                async with setup.session.get(url, headers=setup.headers) as reply:
                    return reply.headers["Twilio-Concurrent-Requests"]

            assert sorted(await asyncio.gather(*(counted() for _ in range(3)))) == ["1", "2", "3"]

    async def test_the_resource(self, setup: SimulatorSetup) -> None:
        _, body = await create(setup)
        assert body["to_formatted"] == "(202) 555-0100"
        assert (body["price_unit"], body["queue_time"], body["api_version"]) == ("USD", "0", "2010-04-01")
        assert (body["account_sid"], body["uri"]) == (
            setup.sim.account_sid,
            f"{setup.account}/Calls/{body['sid']}.json",
        )
        assert parsedate_to_datetime(str(body["date_created"])).tzinfo == UTC
        subresources = body["subresource_uris"]
        assert isinstance(subresources, dict)
        assert subresources["user_defined_messages"] == f"{setup.account}/Calls/{body['sid']}/UserDefinedMessages.json"

    async def test_it_shows_when_it_was_changed(self) -> None:
        now = [datetime(2026, 1, 5, tzinfo=UTC)]
        async with simulator_setup(wall=lambda: now[0]) as setup:
            call = await setup.place()
            now[0] += timedelta(minutes=1)
            await setup.advance(5)
            shown = await setup.fetch(call["sid"])
            made, changed = "Mon, 05 Jan 2026 00:00:00 +0000", "Mon, 05 Jan 2026 00:01:00 +0000"
            assert (call["date_updated"], shown["date_created"], shown["date_updated"]) == (made, made, changed)

    async def test_it_has_every_key_that_a_live_one_has(self, setup: SimulatorSetup) -> None:
        live = json.loads((DATA / "live_call_resource.json").read_text())
        _, body = await create(setup)
        assert set(live) - set(body) == set()

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ("+1 (202) 555-0100", ANSWERS),
            ("2025550100", ANSWERS),
            ("client:ann", "client:ann"),
            ("sip:ann@example.com", "sip:ann@example.com"),
        ],
    )
    async def test_addresses_are_shown_as_twilio_shows_them(
        self, setup: SimulatorSetup, given: str, shown: str
    ) -> None:
        _, body = await create(setup, To=given)
        assert body["to"] == shown

    async def test_a_name_may_call_a_sip_address(self, setup: SimulatorSetup) -> None:
        status, body = await create(setup, To="sip:ann@example.com", From="reception")
        assert (status, body["from"]) == (201, "reception")

    async def test_an_event_list_in_one_value_is_accepted_noted_and_never_reported(self, setup: SimulatorSetup) -> None:
        call = await setup.place(HANGS_UP, StatusCallbackEvent="initiated ringing answered completed")
        await setup.advance(20)
        assert (await setup.fetch(call["sid"]))["status"] == "completed"
        assert await setup.notes(call["sid"]) == [("21626", "1")]
        assert setup.callbacks(call["sid"]) == []


class TestDelete:
    async def test_a_live_call_is_kept(self, setup: SimulatorSetup) -> None:
        call = await setup.place()
        status, body = await setup.request("DELETE", f"{setup.account}/Calls/{call['sid']}.json")
        assert (status, body["code"]) == (409, 20009)

    async def test_an_ended_call_is_gone(self, setup: SimulatorSetup) -> None:
        call = await setup.place(BUSY)
        await setup.advance(5)
        path = f"{setup.account}/Calls/{call['sid']}.json"
        assert await setup.request("DELETE", path) == (204, {})
        assert (await setup.request("GET", path))[0] == 404
        assert await setup.calls() == []


class TestLists:
    async def test_newest_first_and_empty(self, setup: SimulatorSetup) -> None:
        status, body = await setup.request("GET", f"{setup.account}/Calls.json")
        assert (status, body["calls"], body["page"], body["page_size"]) == (200, [], 0, 50)
        assert (body["next_page_uri"], body["previous_page_uri"]) == (None, None)
        calls = [await setup.place() for _ in range(3)]
        assert [call["sid"] for call in await setup.calls()] == [call["sid"] for call in reversed(calls)]

    async def test_filters(self, setup: SimulatorSetup) -> None:
        noun = "<Dial><Number>+12025550105</Number></Dial>"
        parent = await setup.place(ANSWERS, Twiml=f"<Response>{noun}</Response>")
        busy = await setup.place(BUSY, From="+12025550150")
        await setup.advance(60)
        (child,) = await setup.children(parent["sid"])

        async def listed(**query: str) -> list[str]:
            return [call["sid"] for call in await setup.calls(**query)]

        assert await listed(To=BUSY) == [busy["sid"]]
        assert await listed(To="12025550102") == [busy["sid"]]
        assert await listed(From="+12025550150") == [busy["sid"]]
        assert await listed(Status="busy") == [busy["sid"]]
        assert await listed(Status="queued") == []
        assert await listed(Status="completed", To=HANGS_UP) == [child["sid"]]
        assert await listed(ParentCallSid="CA" + "0" * 32) == []
        assert len(await listed(StartTimeAfter="2000-01-01", status="busy")) == 3  # neither is a filter

    async def test_dates(self) -> None:
        moment = datetime(2026, 1, 5, 23, 59, 58, 900_000, tzinfo=UTC)
        now = [moment]
        async with simulator_setup(wall=lambda: now[0]) as setup:
            first = await setup.place(HANGS_UP)
            await setup.advance(20)
            now[0] += timedelta(seconds=5)  # the next day
            second = await setup.place(HANGS_UP)
            await setup.advance(20)
            unconnected = await setup.place(BUSY)
            await setup.advance(20)

            async def listed(name: str, value: str) -> list[str]:
                return [call["sid"] for call in await setup.calls(**{name: value})]

            late = [unconnected["sid"], second["sid"]]
            assert await listed("StartTime", "2026-01-05") == [first["sid"]]
            assert await listed("StartTime", "2026-01-06") == late
            assert await listed("StartTime<", "2026-01-06") == [first["sid"]]
            assert await listed("StartTime>", "2026-01-05") == [*late, first["sid"]]
            assert await listed("StartTime>", "2026-01-06") == late
            assert await listed("StartTime>", "2026-01-05T23:59:58Z") == [*late, first["sid"]]
            assert await listed("StartTime<", "2026-01-05T23:59:58Z") == []
            assert await listed("StartTime", "2026-01-06T00:59:58+01:00") == [first["sid"]]
            assert await listed("EndTime>", "2026-01-06T00:00:03Z") == [second["sid"]]
            assert await listed("EndTime<", "2026-01-06") == [first["sid"]]
            assert await listed("EndTime", "2026-01-06") == [second["sid"]]

    @pytest.mark.parametrize(
        "query", [{"PageSize": "0"}, {"PageSize": "x"}, {"Page": "-1"}, {"PageToken": "x"}, {"StartTime": "soon"}]
    )
    async def test_what_can_not_be(self, setup: SimulatorSetup, query: dict[str, str]) -> None:
        status, body = await setup.request("GET", f"{setup.account}/Calls.json", query)
        assert (status, body["code"]) == (400, 20001)

    async def test_a_page_size_above_the_limit_is_the_limit(self, setup: SimulatorSetup) -> None:
        _, body = await setup.request("GET", f"{setup.account}/Calls.json", {"PageSize": "5000"})
        assert body["page_size"] == 1000

    async def test_pages_stay_put_while_calls_come_and_go(self, setup: SimulatorSetup) -> None:
        made = []
        for _ in range(7):
            made.append((await setup.place(BUSY))["sid"])
            await setup.place(HANGS_UP)  # which the filter leaves out, on every page
        await setup.advance(5)
        _, page = await setup.request("GET", f"{setup.account}/Calls.json", {"PageSize": "3", "To": BUSY})
        seen = [call["sid"] for call in page["calls"]]
        await setup.place(BUSY)
        await setup.request("DELETE", f"{setup.account}/Calls/{seen[-1]}.json")
        pages = [page]
        while page["next_page_uri"]:
            _, page = await setup.request("GET", page["next_page_uri"])
            pages.append(page)
            seen += [call["sid"] for call in page["calls"]]
        assert seen == made[::-1]
        assert [(each["page"], each["start"], each["end"]) for each in pages] == [(0, 0, 2), (1, 3, 5), (2, 6, 6)]
        assert [each["previous_page_uri"] is None for each in pages] == [True, False, False]
        _, back = await setup.request("GET", pages[2]["previous_page_uri"])
        assert [call["sid"] for call in back["calls"]] == seen[3:6]

    async def test_a_page_beyond_the_end_is_empty(self, setup: SimulatorSetup) -> None:
        await setup.place()
        query = {"Page": "3", "PageToken": f"PA{0:032x}"}
        status, body = await setup.request("GET", f"{setup.account}/Calls.json", query)
        assert (status, body["calls"], body["next_page_uri"]) == (200, [], None)


class TestLag:
    async def test_a_fetch_right_after_an_update_shows_the_old_status(self) -> None:
        async with simulator_setup(lag=0.5) as setup:
            call = await setup.place()
            await setup.advance(5)
            _, body = await setup.update(call["sid"], Status="completed")
            assert body["status"] == "completed"
            assert (await setup.fetch(call["sid"]))["status"] == "in-progress"
            assert [each["status"] for each in await setup.calls()] == ["in-progress"]
            assert await setup.calls(Status="completed") == []
            await setup.advance(0.6)
            assert (await setup.fetch(call["sid"]))["status"] == "completed"


class TestDialects:
    async def test_somleng(self) -> None:
        async with simulator_setup(dialect="somleng") as setup:
            status, body = await create(setup, To=None)
            assert (status, body["code"], body["status"]) == (422, "21201", 422)
            call = await setup.session.post(
                f"{setup.sim.url}{setup.account}/Calls.json",
                data=GOOD | {"To": BUSY, "StatusCallback": setup.status, "StatusCallbackEvent": "ringing"},
                headers=setup.headers,
            )
            made = await call.json()
            assert len(made["sid"].split("-")) == 5
            assert made["subresource_uris"] == {}
            await setup.advance(5)
            assert setup.callbacks(made["sid"]) == [("busy", 0)]
            listing = f"{setup.sim.url}{setup.account}/Calls.json?Status=queued"
            async with setup.session.get(listing, headers=setup.headers) as reply:
                assert len((await reply.json())["calls"]) == 1  # filters are ignored there

    async def test_signalwire(self) -> None:
        async with simulator_setup(dialect="signalwire", base_path="/api/laml") as setup:
            assert setup.sim.url.endswith("/api/laml")
            url = f"{setup.sim.url}{setup.account}/Calls.json"
            for _ in range(2):
                async with setup.session.post(url, data=GOOD | {"To": HANGS_UP}, headers=setup.headers) as reply:
                    assert (reply.status, len((await reply.json())["sid"].split("-"))) == (201, 5)
            await setup.advance(20)
            async with setup.session.get(f"{url}?PageSize=1", headers=setup.headers) as reply:
                page = await reply.json()
            assert page["calls"][0]["duration"] == 5
            assert page["next_page_uri"].startswith("/api/laml/2010-04-01/")
