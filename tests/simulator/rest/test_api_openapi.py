"""Every kind of reply against Twilio's own description. (The other tests' requests go through the same check.)"""

import json
from collections.abc import Iterator

import pytest
from paths import DATA
from simulator.setup import ANSWERS, BUSY, FROM, HANGS_UP, OPENAPI, Json, SimulatorSetup, basic, check_reply

from callctl.calls.call import REST_STATUSES, Direction


async def test_every_reply_is_as_described(setup: SimulatorSetup) -> None:
    calls = f"{setup.account}/Calls.json"
    noun = f'<Number statusCallback="{setup.status}">{HANGS_UP}</Number>'
    call = await setup.place(ANSWERS, Twiml=f"<Response><Dial>{noun}</Dial></Response>", MachineDetection="Enable")
    ended = await setup.place(BUSY)
    one = f"{setup.account}/Calls/{ended['sid']}.json"
    for seconds in (0, 0.5, 4, 5, 20):
        await setup.advance(seconds)
        assert len(await setup.calls(PageSize="1")) == 1
        await setup.fetch(call["sid"])
    replies = [
        ("GET", calls, {"Page": "x"}, 400),
        ("POST", calls, {"To": FROM}, 400),
        ("POST", one, {"Status": "canceled"}, 400),
        ("POST", f"{setup.account}/Calls/CA0.json", {"Status": "canceled"}, 404),
        ("DELETE", f"{setup.account}/Calls/CA0.json", {}, 404),
        ("DELETE", one, {}, 204),
        ("GET", one, {}, 404),
    ]
    for method, path, form, status in replies:
        assert (await setup.request(method, path, form))[0] == status
    live = await setup.place()
    assert (await setup.request("DELETE", f"{setup.account}/Calls/{live['sid']}.json"))[0] == 409
    for method in ("GET", "POST"):
        assert (await setup.request(method, calls, headers=basic("nobody", "x")))[0] == 401


def test_the_check_finds_what_is_wrong() -> None:
    with pytest.raises(Exception, match="is a required property"):
        check_reply("GET", "/2010-04-01/Accounts/AC0/Calls.json", 200, {"calls": []})
    with pytest.raises(KeyError):
        check_reply("GET", "/2010-04-01/Accounts/AC0/Calls.json", 418, {})


def names_in(description: Json) -> Iterator[tuple[str, ...]]:
    """Yield what a description names: operations, their parameters, their successful replies, the fields of a call."""
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).values()
            yield from ((path, method, each["name"]) for each in operation["parameters"])
            yield from ((path, method, name) for each in content for name in each["schema"]["properties"])
            yield from ((path, method, status) for status in operation["responses"] if status.startswith("2"))
    for name in description["components"]["schemas"]["api.v2010.account.call"]["properties"]:
        yield ("call", name)


def test_what_replies_are_checked_against_names_what_twilio_names() -> None:
    twilios, checked = (json.loads(path.read_text()) for path in (DATA / "calls_openapi.json", OPENAPI))
    assert set(names_in(checked)) == set(names_in(twilios))
    for name in ("call_enum_status", "call_enum_update_status"):
        assert checked["components"]["schemas"][name] == twilios["components"]["schemas"][name]


def test_callctl_knows_the_statuses_and_directions_of_the_description() -> None:
    schemas = json.loads(OPENAPI.read_text())["components"]["schemas"]
    assert set(schemas["call_enum_status"]["enum"]) == set(REST_STATUSES)
    assert set(schemas["api.v2010.account.call"]["properties"]["direction"]["enum"]) == set(Direction)
