"""Every kind of reply against Twilio's own description. (The other tests' requests go through the same check.)"""

import pytest
from simulator.world import ANSWERS, BUSY, FROM, HANGS_UP, OPENAPI, World, basic, check_reply

pytestmark = pytest.mark.skipif(not OPENAPI.exists(), reason="Twilio's description is not beside this checkout")


async def test_every_reply_is_as_described(world: World) -> None:
    calls = f"{world.account}/Calls.json"
    noun = f'<Number statusCallback="{world.status}">{HANGS_UP}</Number>'
    call = await world.place(ANSWERS, Twiml=f"<Response><Dial>{noun}</Dial></Response>", MachineDetection="Enable")
    ended = await world.place(BUSY)
    one = f"{world.account}/Calls/{ended['sid']}.json"
    for seconds in (0, 0.5, 4, 5, 20):
        await world.advance(seconds)
        assert len(await world.calls(PageSize="1")) == 1
        await world.fetch(call["sid"])
    replies = [
        ("GET", calls, {"Page": "x"}, 400),
        ("POST", calls, {"To": FROM}, 400),
        ("POST", one, {"Status": "canceled"}, 400),
        ("POST", f"{world.account}/Calls/CA0.json", {"Status": "canceled"}, 404),
        ("DELETE", f"{world.account}/Calls/CA0.json", {}, 404),
        ("DELETE", one, {}, 204),
        ("GET", one, {}, 404),
    ]
    for method, path, form, status in replies:
        assert (await world.request(method, path, form))[0] == status
    live = await world.place()
    assert (await world.request("DELETE", f"{world.account}/Calls/{live['sid']}.json"))[0] == 409
    for method in ("GET", "POST"):
        assert (await world.request(method, calls, headers=basic("nobody", "x")))[0] == 401


def test_the_check_finds_what_is_wrong() -> None:
    with pytest.raises(Exception, match="is a required property"):
        check_reply("GET", "/2010-04-01/Accounts/AC0/Calls.json", 200, {"calls": []})
    with pytest.raises(KeyError):
        check_reply("GET", "/2010-04-01/Accounts/AC0/Calls.json", 418, {})
