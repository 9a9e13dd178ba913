"""Calls as the control surface shows them: their time line and notifications."""

from datetime import datetime, timedelta

import pytest
from simulator.setup import ANSWERS, BUSY, FROM, HANGS_UP, SimulatorSetup


async def test_a_call_with_all_that_happened_to_it(setup: SimulatorSetup) -> None:
    sid = (await setup.place(HANGS_UP, Url=f"{setup.listener.url}/missing"))["sid"]
    await setup.advance(10)
    _, call = await setup.control("GET", f"/calls/{sid}")
    assert [(each["status"], each["at"]) for each in call["timeline"]] == [
        ("queued", 0),
        ("ringing", pytest.approx(0.3)),
        ("in-progress", pytest.approx(2.3)),
        ("completed", pytest.approx(2.4)),
    ]
    (note,) = call["notifications"]
    assert (note["code"], note["level"], note["url"]) == (11200, "error", f"{setup.listener.url}/missing")
    assert note["at"] == pytest.approx(2.4)
    assert (call["from"], call["to"], call["direction"]) == (FROM, HANGS_UP, "outbound-api")
    assert (call["status"], call["duration"], call["parent_sid"], call["room"]) == ("completed", 0, None, None)


async def test_the_oldest_comes_first_and_the_newest_can_be_had_alone(setup: SimulatorSetup) -> None:
    sids = [(await setup.place(BUSY))["sid"] for _ in range(3)]
    assert [call["sid"] for call in (await setup.control("GET", "/calls"))[1]["calls"]] == sids
    assert [call["sid"] for call in (await setup.control("GET", "/calls?limit=2"))[1]["calls"]] == sids[1:]
    assert (await setup.control("GET", "/calls?limit=0"))[1]["calls"] == []
    status, body = await setup.control("GET", "/calls?limit=-1")
    assert (status, body["message"]) == (400, "limit must be a whole number, 0 or more, and not '-1'")


async def test_those_that_are_live_or_have_changed_since(setup: SimulatorSetup) -> None:
    live, ended = [(await setup.place(to))["sid"] for to in (ANSWERS, BUSY)]
    noted = (await setup.place(ANSWERS, Url=f"{setup.listener.url}/missing"))["sid"]
    await setup.advance(10)

    async def since(text: str) -> list[str]:
        _, body = await setup.control("GET", f"/calls?since={text}")
        assert body["at"] == 10
        return [call["sid"] for call in body["calls"]]

    calls = {call["sid"]: call for call in (await setup.control("GET", "/calls"))[1]["calls"]}
    busy_at, noted_at = calls[ended]["timeline"][-1]["at"], calls[noted]["notifications"][-1]["at"]
    assert busy_at < noted_at
    assert await since("0") == [live, ended, noted]
    assert await since(repr(busy_at)) == [live, ended, noted]
    assert await since(repr(noted_at)) == [live, noted]
    assert await since("10") == [live]
    assert await since("5e-324") == await since("-0.0") == [live, ended, noted]
    for wrong in ("-1", "soon", "nan", "", "1_0", "1e999", "1e", "."):
        assert (await setup.control("GET", f"/calls?since={wrong}"))[0] == 400


async def test_a_family_and_the_conference_that_they_met_in(setup: SimulatorSetup) -> None:
    room = "<Response><Dial><Conference>standup</Conference></Dial></Response>"
    sid = (await setup.place(ANSWERS, Twiml=room))["sid"]
    parent = (await setup.place(ANSWERS, Twiml=f"<Response><Dial>{HANGS_UP}</Dial></Response>"))["sid"]
    await setup.advance(20)
    calls = {call["sid"]: call for call in (await setup.control("GET", "/calls"))[1]["calls"]}
    assert calls[sid]["room"] == "standup"
    (child,) = [call for call in calls.values() if call["parent_sid"]]
    assert (child["parent_sid"], child["direction"]) == (parent, "outbound-dial")


async def test_with_a_manual_clock_start_end_and_duration_agree(setup: SimulatorSetup) -> None:
    first = (await setup.place(BUSY))["sid"]
    await setup.advance(3600)
    sid = (await setup.place(ANSWERS, Twiml="<Response><Pause length='600'/></Response>"))["sid"]
    await setup.advance(1000)
    _, call = await setup.control("GET", f"/calls/{sid}")
    began = moment((await setup.control("GET", f"/calls/{first}"))[1]["created"])
    assert moment(call["created"]) == began + timedelta(hours=1)
    answered = next(each for each in call["timeline"] if each["status"] == "in-progress")
    talked = moment(call["ended"]) - moment(answered["time"])
    assert talked.total_seconds() == pytest.approx(600, abs=0.002)
    assert call["duration"] == 600
    assert (moment(call["ended"]) - moment(call["started"])).total_seconds() == pytest.approx(602.2, abs=0.002)
    for each in call["timeline"]:
        assert (moment(each["time"]) - began).total_seconds() == pytest.approx(each["at"], abs=0.002)
    twilios, last = await setup.fetch(sid), setup.last(sid)
    assert (last["Timestamp"], last["CallDuration"]) == (twilios["end_time"], twilios["duration"])


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
