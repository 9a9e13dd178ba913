"""IncomingPhoneNumbers: what can be created, set, listed and deleted, and what a call to a number is handled by."""

from typing import Any

import pytest
from simulator.setup import DIGITS, Json, SimulatorSetup, simulator_setup

MINE = "+12025550142"
VOICE = "http://127.0.0.1:9/voice"
TRUNK = "TK" + "1" * 32


async def asked(setup: SimulatorSetup, method: str, rest: str = "", **form: Any) -> tuple[int, Json]:
    return await setup.request(method, f"{setup.account}/IncomingPhoneNumbers{rest}.json", form)


async def create(setup: SimulatorSetup, number: str = MINE, **form: Any) -> Json:
    status, body = await asked(setup, "POST", PhoneNumber=number, **form)
    assert status == 201, body
    return body


async def application(setup: SimulatorSetup, **form: Any) -> str:
    status, body = await setup.request("POST", f"{setup.account}/Applications.json", form)
    assert status == 201, body
    return str(body["sid"])


async def called(setup: SimulatorSetup, to: str = MINE, **form: Any) -> tuple[int, Json]:
    return await setup.control("POST", "/calls", {"to": to, "from": DIGITS} | form)


async def test_a_new_number_has_its_defaults(setup: SimulatorSetup) -> None:
    body = await create(setup, "(202) 555-0142", VoiceUrl=VOICE)
    assert (body["sid"][:2], body["phone_number"], body["friendly_name"]) == ("PN", MINE, "(202) 555-0142")
    assert (body["voice_url"], body["voice_method"], body["status_callback"]) == (VOICE, "POST", "")
    assert (body["voice_application_sid"], body["trunk_sid"]) == (None, None)
    assert body["uri"] == f"{setup.account}/IncomingPhoneNumbers/{body['sid']}.json"
    assert await asked(setup, "GET", f"/{body['sid']}") == (200, body)


async def test_a_number_may_be_asked_for_by_its_area_code(setup: SimulatorSetup) -> None:
    got = [(await asked(setup, "POST", AreaCode="415"))[1]["phone_number"] for _ in range(2)]
    assert got == ["+14155550100", "+14155550101"]


async def test_an_update_sets_what_it_says_and_an_empty_value_takes_away(setup: SimulatorSetup) -> None:
    sid = (await create(setup, VoiceUrl=VOICE, VoiceMethod="GET", StatusCallback=f"{VOICE}#rc=5"))["sid"]
    status, body = await asked(setup, "POST", f"/{sid}", FriendlyName="Support", VoiceFallbackUrl=VOICE)
    assert (status, body["friendly_name"], body["voice_method"]) == (200, "Support", "GET")
    assert (body["voice_fallback_url"], body["status_callback"]) == (VOICE, f"{VOICE}#rc=5")
    _, body = await asked(setup, "POST", f"/{sid}", StatusCallback="", FriendlyName="")
    assert (body["status_callback"], body["friendly_name"], body["voice_url"]) == ("", "Support", VOICE)


async def test_a_trunk_and_an_application_rule_each_other_out(setup: SimulatorSetup) -> None:
    app = await application(setup)
    sid = (await create(setup, VoiceApplicationSid=app))["sid"]
    _, body = await asked(setup, "POST", f"/{sid}", TrunkSid=TRUNK)
    assert (body["trunk_sid"], body["voice_application_sid"]) == (TRUNK, None)
    _, body = await asked(setup, "POST", f"/{sid}", VoiceApplicationSid=app)
    assert (body["trunk_sid"], body["voice_application_sid"]) == (None, app)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, 21421),
        ({"PhoneNumber": "voice"}, 21421),
        ({"PhoneNumber": "+12025550199"}, 21422),
        ({"AreaCode": "12"}, 21451),
        ({"PhoneNumber": MINE, "VoiceUrl": "voice"}, 21402),
        ({"PhoneNumber": MINE, "StatusCallback": "ftp://127.0.0.1/"}, 21402),
        ({"PhoneNumber": MINE, "VoiceMethod": "PUT"}, 21403),
        ({"PhoneNumber": MINE, "VoiceFallbackUrl": VOICE}, 21405),
        ({"PhoneNumber": MINE, "SmsFallbackUrl": VOICE}, 21406),
        ({"PhoneNumber": MINE, "VoiceApplicationSid": "AP" + "1" * 32}, 21420),
        ({"PhoneNumber": MINE, "VoiceApplicationSid": "survey"}, 20001),
        ({"PhoneNumber": MINE, "FriendlyName": "x" * 65}, 20001),
        ({"PhoneNumber": MINE, "VoiceReceiveMode": "telex"}, 20001),
        ({"PhoneNumber": MINE, "AccountSid": "AC" + "9" * 32}, 21471),
    ],
)
async def test_what_is_refused_changes_nothing(setup: SimulatorSetup, form: dict[str, str], code: int) -> None:
    await create(setup, "+12025550199")
    status, body = await asked(setup, "POST", **form)
    assert (status, body["code"]) == (400, code)
    assert len((await asked(setup, "GET"))[1]["incoming_phone_numbers"]) == 1


async def test_an_area_code_runs_out_of_numbers(setup: SimulatorSetup) -> None:
    for _ in range(100):
        assert (await asked(setup, "POST", AreaCode="212"))[0] == 201
    assert (await asked(setup, "POST", AreaCode="212"))[1]["code"] == 21452


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["+14155550101", "+12025550143", "+12025550142"]),
        ({"PhoneNumber": "+12025550142"}, ["+12025550142"]),
        ({"PhoneNumber": "202555"}, ["+12025550143", "+12025550142"]),
        ({"PhoneNumber": "555014*"}, ["+12025550143", "+12025550142"]),
        ({"PhoneNumber": "+1***555010"}, ["+14155550101"]),
        ({"FriendlyName": "Support"}, ["+12025550143"]),
        ({"FriendlyName": "Supp"}, []),
        ({"Origin": "hosted"}, []),
        ({"Beta": "false", "Origin": "twilio", "FriendlyName": "Support"}, ["+12025550143"]),
    ],
)
async def test_filters(setup: SimulatorSetup, query: dict[str, str], found: list[str]) -> None:
    await create(setup, "+12025550142")
    await create(setup, "+12025550143", FriendlyName="Support")
    await create(setup, "+14155550101")
    status, body = await asked(setup, "GET", **query)
    assert (status, [each["phone_number"] for each in body["incoming_phone_numbers"]]) == (200, found)


async def test_a_list_has_pages(setup: SimulatorSetup) -> None:
    for last in range(5):
        await create(setup, f"+1202555014{last}")
    found, path = [], f"{setup.account}/IncomingPhoneNumbers.json?PageSize=2"
    while path:
        _, body = await setup.request("GET", setup.sim.url + path)
        found += [each["phone_number"] for each in body["incoming_phone_numbers"]]
        path = body["next_page_uri"]
    assert found == [f"+1202555014{last}" for last in (4, 3, 2, 1, 0)]


async def test_a_deleted_number_can_be_had_again(setup: SimulatorSetup) -> None:
    sid = (await create(setup))["sid"]
    assert (await asked(setup, "DELETE", f"/{sid}"))[0] == 204
    for method in ("GET", "POST", "DELETE"):
        status, body = await asked(setup, method, f"/{sid}")
        assert (status, body["code"]) == (404, 20404)
    await create(setup)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"PhoneNumber": "+15005550006"}, None),
        ({"AreaCode": "500"}, None),
        ({"PhoneNumber": "+15005550000"}, 21422),
        ({"PhoneNumber": "+15005550001"}, 21421),
        ({"PhoneNumber": MINE}, 21422),
        ({"AreaCode": "533"}, 21452),
        ({}, 21421),
    ],
)
async def test_test_credentials_may_try_to_buy_one(form: dict[str, str], code: int | None) -> None:
    async with simulator_setup(test_credentials=True) as setup:
        status, body = await asked(setup, "POST", **form)
        assert (status, body.get("code")) == ((201, None) if code is None else (400, code))
        assert body.get("phone_number") == ("+15005550006" if code is None else None)
        for method, rest in (("GET", ""), ("POST", f"/{body.get('sid')}")):
            status, body = await asked(setup, method, rest)
            assert (status, body["code"]) == (403, 20008)


async def test_a_call_to_a_number_without_url_fails_at_once(setup: SimulatorSetup) -> None:
    number = await create(setup, StatusCallback=setup.status)
    status, call = await called(setup)
    assert (status, call["status"], call["duration"]) == (201, "failed", 0)
    assert (await setup.fetch(call["sid"]))["phone_number_sid"] == number["sid"]
    await setup.advance(1)
    last = setup.last(call["sid"])
    assert (last["CallStatus"], last["CallDuration"]) == ("failed", "0")
    assert await setup.notes(call["sid"]) == []


async def test_an_application_beats_the_numbers_own_urls_until_it_is_gone(setup: SimulatorSetup) -> None:
    documents = {"/app": "<Response><Pause length='5'/></Response>", "/own": "<Response/>"}
    setup.listener.documents |= documents
    app = await application(setup, VoiceUrl=f"{setup.listener.url}/app", VoiceMethod="GET")
    await create(setup, VoiceApplicationSid=app, VoiceUrl=f"{setup.listener.url}/own")
    _, call = await called(setup)
    await setup.advance(10)
    assert [(each.method, each.form["CallSid"]) for each in setup.listener.at("/app")] == [("GET", call["sid"])]
    assert setup.listener.at("/own") == []
    assert (await setup.request("DELETE", f"{setup.account}/Applications/{app}.json"))[0] == 204
    _, body = await asked(setup, "GET")
    assert body["incoming_phone_numbers"][0]["voice_application_sid"] is None
    await called(setup)
    await setup.advance(10)
    assert len(setup.listener.at("/own")) == 1


async def test_a_url_of_its_own_beats_the_number(setup: SimulatorSetup) -> None:
    setup.listener.documents["/other"] = "<Response/>"
    await create(setup, VoiceUrl=VOICE)
    _, call = await called(setup, url=f"{setup.listener.url}/other")
    await setup.advance(5)
    assert ((await setup.fetch(call["sid"]))["status"], len(setup.listener.at("/other"))) == ("completed", 1)


async def test_numbers_that_say_nothing_of_where_their_calls_go(setup: SimulatorSetup) -> None:
    status, body = await called(setup)
    assert (status, body["code"]) == (400, 21205)
    assert "no number of this account" in body["message"]
    await create(setup, TrunkSid=TRUNK)
    status, body = await called(setup)
    assert (status, body["code"]) == (400, 21205)
    assert "trunk" in body["message"]


@pytest.mark.parametrize("strict", [False, True])
async def test_what_a_number_asks_for_that_is_not_imitated_is_said(*, strict: bool) -> None:
    async with simulator_setup(strict=strict) as setup:
        setup.listener.documents["/own"] = "<Response><Say>Hi</Say></Response>"
        url = f"{setup.listener.url}/own"
        await create(
            setup, VoiceUrl=url, VoiceCallerIdLookup="true", VoiceReceiveMode="fax", StatusCallback=setup.status
        )
        _, call = await called(setup)
        await setup.advance(5)
        assert setup.statuses(call["sid"]) == ["failed" if strict else "completed"]
        assert [code for code, _ in await setup.notes(call["sid"])][:2] == ["12200", "12100" if strict else "12200"]
        assert len(setup.listener.at("/own")) == (0 if strict else 1)
        placed = await setup.place(MINE)
        await setup.advance(5)
        assert setup.statuses(placed["sid"])[-1] == ("failed" if strict else "completed")
