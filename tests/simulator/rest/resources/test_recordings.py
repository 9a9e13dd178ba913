"""Recordings over REST: of a call and of the account, started, changed, deleted, and their files."""

import io
import wave
from collections.abc import Iterator

import aiohttp
import pytest
from simulator.setup import ANSWERS, FROM, HANGS_UP, Json, SimulatorSetup, basic, simulator_setup
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from callctl.simulator import Simulator


async def start(setup: SimulatorSetup, sid: str, **params: object) -> Json:
    status, body = await setup.request("POST", f"{setup.account}/Calls/{sid}/Recordings.json", params)
    assert status == 201, body
    return body


async def change(setup: SimulatorSetup, sid: str, recording: str, **params: str) -> tuple[int, Json]:
    return await setup.request("POST", f"{setup.account}/Calls/{sid}/Recordings/{recording}.json", params)


async def listed(setup: SimulatorSetup, path: str = "", **query: str) -> list[str]:
    status, body = await setup.request("GET", f"{setup.account}{path}/Recordings.json", query)
    assert status == 200, body
    return [recording["sid"] for recording in body["recordings"]]


async def fetch(setup: SimulatorSetup, recording: str, **query: str) -> Json:
    status, body = await setup.request("GET", f"{setup.account}/Recordings/{recording}.json", query)
    assert status == 200, body
    return body


async def media(setup: SimulatorSetup, name: str, **options: object) -> aiohttp.ClientResponse:
    url = f"{setup.sim.url}{setup.account}/Recordings/{name}"
    reply = await setup.session.get(url, **({"headers": setup.headers} | options))  # type: ignore[arg-type]
    await reply.read()
    return reply


async def test_a_recording_is_started_and_ends_with_the_call(setup: SimulatorSetup) -> None:
    sid = await setup.running_call()
    begun = await start(setup, sid, RecordingStatusCallback=f"{setup.status}/recording", RecordingChannels="dual")
    assert (begun["status"], begun["source"], begun["channels"]) == ("in-progress", "StartCallRecordingAPI", 2)
    assert (begun["call_sid"], begun["duration"], begun["track"]) == (sid, None, "both")
    assert (await fetch(setup, begun["sid"]))["status"] == "processing"
    await setup.advance(4)
    await setup.update(sid, Status="completed")
    await setup.advance(2)
    ended = await fetch(setup, begun["sid"])
    assert (ended["status"], ended["duration"]) == ("completed", "4")
    assert ended["media_url"] == f"{setup.sim.url}{setup.account}/Recordings/{begun['sid']}"
    (callback,) = setup.listener.at("/status/recording")
    assert callback.form["RecordingSource"] == "StartCallRecordingAPI"
    assert "RecordingSid" not in setup.last(sid)


async def test_it_is_paused_resumed_and_stopped(setup: SimulatorSetup) -> None:
    sid = await setup.running_call()
    begun = await start(setup, sid)
    steps = [("paused", "skip"), ("in-progress", ""), ("paused", "silence"), ("in-progress", ""), ("stopped", "")]
    for status, behavior in steps:
        await setup.advance(2)
        extra = {"PauseBehavior": behavior} if behavior else {}
        code, body = await change(setup, sid, "Twilio.CURRENT", Status=status, **extra)
        assert (code, body["status"], body["sid"]) == (200, status, begun["sid"])
        assert (await fetch(setup, begun["sid"]))["status"] == "processing"
    await setup.advance(2)
    assert (await fetch(setup, begun["sid"]))["duration"] == "8"
    assert (await change(setup, sid, begun["sid"], Status="stopped"))[1]["code"] == 21220
    assert (await change(setup, sid, "Twilio.CURRENT", Status="stopped"))[0] == 404


async def test_what_is_refused(setup: SimulatorSetup) -> None:
    sid = await setup.running_call()
    first = await start(setup, sid)
    second = await start(setup, sid)
    for params in ({}, {"Status": "completed"}, {"Status": "paused", "PauseBehavior": "loud"}):
        assert (await change(setup, sid, first["sid"], **params))[1]["code"] == 20001
    assert (await change(setup, sid, "Twilio.CURRENT", Status="paused"))[1]["code"] == 20001  # there are two
    assert (await change(setup, sid, second["sid"], Status="stopped"))[0] == 200
    assert (await change(setup, sid, "Twilio.CURRENT", Status="paused"))[0] == 200
    other = await setup.running_call()
    assert (await change(setup, other, first["sid"], Status="paused"))[0] == 404
    nowhere = f"{setup.account}/Calls/CA0/Recordings"
    assert (await setup.request("POST", f"{nowhere}.json"))[0] == 404
    assert (await setup.request("GET", f"{nowhere}.json"))[0] == 404
    assert (await setup.request("GET", f"{setup.account}/Recordings/RE0.json"))[0] == 404


async def test_only_a_connected_call_is_recorded(setup: SimulatorSetup) -> None:
    call = await setup.place()
    path = f"{setup.account}/Calls/{call['sid']}/Recordings.json"
    assert (await setup.request("POST", path))[1]["code"] == 21220
    await setup.advance(5)
    await setup.update(call["sid"], Status="completed")
    assert (await setup.request("POST", path))[1]["code"] == 21220


async def test_a_child_is_recorded_under_its_parent(setup: SimulatorSetup) -> None:
    call = await setup.place(ANSWERS, Twiml=f"<Response><Dial>{ANSWERS}</Dial></Response>")
    await setup.advance(10)
    (child,) = await setup.children(call["sid"])
    begun = await start(setup, child["sid"])
    assert begun["call_sid"] == call["sid"]
    for sid in (call["sid"], child["sid"]):
        assert await listed(setup, f"/Calls/{sid}") == [begun["sid"]]
    assert (await change(setup, child["sid"], "Twilio.CURRENT", Status="stopped"))[0] == 200


async def test_lists(setup: SimulatorSetup) -> None:
    first, second = [await setup.running_call() for _ in range(2)]
    made = [(await start(setup, sid))["sid"] for sid in (first, second, first)]
    assert await listed(setup) == made[::-1]
    assert await listed(setup, f"/Calls/{first}") == [made[2], made[0]]
    assert await listed(setup, CallSid=second) == [made[1]]
    assert await listed(setup, ConferenceSid="CF" + "0" * 32) == []
    assert await listed(setup, **{"DateCreated<": "2000-01-01"}) == []
    assert await listed(setup, **{"DateCreated>": "2000-01-01"}) == made[::-1]
    status, body = await setup.request("GET", f"{setup.account}/Recordings.json", {"PageSize": "2"})
    assert (status, len(body["recordings"])) == (200, 2)
    _, rest = await setup.request("GET", body["next_page_uri"])
    assert [recording["sid"] for recording in rest["recordings"]] == [made[0]]
    assert (await setup.request("GET", f"{setup.account}/Recordings.json", {"DateCreated": "x"}))[0] == 400


@pytest.mark.parametrize("of_call", [False, True])
async def test_deleting(setup: SimulatorSetup, *, of_call: bool) -> None:
    sid = await setup.running_call()
    recording = (await start(setup, sid))["sid"]
    of = f"/Calls/{sid}" if of_call else ""
    path = f"{setup.account}{of}/Recordings/{recording}.json"
    assert (await setup.request("GET", path))[0] == 200
    assert (await setup.request("DELETE", path))[0] == 409  # it goes on
    await change(setup, sid, recording, Status="stopped")
    await setup.advance(2)
    assert (await setup.request("DELETE", path))[0] == 204
    assert (await setup.request("DELETE", path))[0] == (await setup.request("GET", path))[0] == 404
    assert await listed(setup) == await listed(setup, f"/Calls/{sid}") == []
    assert await listed(setup, IncludeSoftDeleted="true") == [recording]
    assert (await fetch(setup, recording, IncludeSoftDeleted="true"))["status"] == "deleted"
    assert (await media(setup, recording)).status == 404


@pytest.mark.parametrize("channels", ["mono", "dual"])
async def test_the_file_is_silence_of_the_right_length(setup: SimulatorSetup, channels: str) -> None:
    sid = await setup.running_call()
    recording = (await start(setup, sid, RecordingChannels=channels))["sid"]
    await setup.advance(12)
    assert (await media(setup, recording)).status == 404
    await change(setup, sid, recording, Status="stopped")
    processing = await media(setup, recording)
    assert (processing.status, (await processing.json())["code"], processing.headers["Retry-After"]) == (
        404,
        21501,
        "1",
    )
    await setup.advance(2)
    for name in (recording, f"{recording}.wav"):
        reply = await media(setup, name)
        assert (reply.status, reply.content_type) == (200, "audio/x-wav")
        with wave.open(io.BytesIO(await reply.read())) as file:
            assert file.getnframes() / file.getframerate() == 12
            assert file.getnchannels() == (1 if channels == "mono" else 2)
            assert set(file.readframes(10**6)) == {0}
    two = await media(setup, f"{recording}.wav", params={"RequestedChannels": "2"})
    assert two.status == (400 if channels == "mono" else 200)
    mp3 = await media(setup, f"{recording}.mp3")
    assert (mp3.status, mp3.content_type) == (200, "audio/mpeg")
    assert len(await mp3.read()) == int(mp3.headers["Content-Length"]) > 0
    assert (await media(setup, f"{recording}.ogg")).status == 404
    for wanted in ("0", "3", "x"):
        assert (await media(setup, recording, params={"RequestedChannels": wanted})).status == 400
    assert (await media(setup, recording, headers={})).status == 401
    assert (await media(setup, recording, headers=basic("nobody", "x"))).status == 401


async def test_of_a_conference(setup: SimulatorSetup) -> None:
    noun = '<Conference record="record-from-start">room</Conference>'
    for _ in range(2):
        await setup.place(Twiml=f"<Response><Dial>{noun}</Dial></Response>")
    await setup.advance(5)
    (conference,) = (await setup.request("GET", f"{setup.account}/Conferences.json"))[1]["conferences"]
    of = f"/Conferences/{conference['sid']}"
    path = f"{setup.account}{of}/Recordings"
    (recording,) = await listed(setup, of)
    assert await listed(setup) == await listed(setup, ConferenceSid=conference["sid"]) == [recording]
    status, body = await setup.request("GET", f"{path}/{recording}.json")
    assert (status, body["status"], body["source"]) == (200, "processing", "Conference")
    assert body["conference_sid"] == conference["sid"]
    assert body["uri"] == f"{path}/{recording}.json"
    for wanted, behavior in (("paused", "skip"), ("in-progress", "silence")):
        form = {"Status": wanted, "PauseBehavior": behavior}
        status, body = await setup.request("POST", f"{path}/Twilio.CURRENT.json", form)
        assert (status, body["status"], body["sid"]) == (200, wanted, recording)
        await setup.advance(2)
    assert (await setup.request("POST", f"{path}/{recording}.json", {"Status": "stopped"}))[0] == 400
    await setup.request("POST", f"{setup.account}{of}.json", {"Status": "completed"})
    await setup.advance(2)
    ended = await fetch(setup, recording)
    assert (ended["status"], ended["conference_sid"]) == ("completed", conference["sid"])
    assert (await setup.request("DELETE", f"{path}/{recording}.json"))[0] == 204
    assert await listed(setup, of) == []
    nowhere = f"{setup.account}/Conferences/CF0/Recordings"
    assert (await setup.request("GET", f"{nowhere}.json"))[0] == 404
    assert (await setup.request("GET", f"{nowhere}/{recording}.json"))[0] == 404


async def test_a_dialect_has_numbers() -> None:
    async with simulator_setup(dialect="signalwire") as setup:
        call = await setup.place(HANGS_UP, Record="true")
        await setup.advance(20)
        (recording,) = await listed(setup, f"/Calls/{call['sid']}")
        assert (await fetch(setup, recording))["duration"] == 5


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(manual_clock=True) as simulator:
        yield simulator


def test_twilios_own_library(sim: Simulator) -> None:
    client = Client(sim.account_sid, sim.auth_token)
    client.api.base_url = sim.url
    call = client.calls.create(
        to=ANSWERS,
        from_=FROM,
        twiml="<Response><Pause length='60'/></Response>",
        record=True,
        recording_channels="dual",
        recording_status_callback="http://127.0.0.1:9/",
        recording_status_callback_event=["in-progress", "completed"],
    )
    sim.advance(5)
    whole = client.recordings.list(call_sid=call.sid)[0]
    assert (whole.source, whole.channels, whole.status) == ("OutboundAPI", 2, "processing")
    of_call = client.calls(call.sid).recordings
    begun = of_call.create(recording_status_callback_event=["completed"], trim="do-not-trim")
    assert of_call(begun.sid).update(status="paused", pause_behavior="skip").status == "paused"
    with pytest.raises(TwilioRestException) as refused:
        of_call("Twilio.CURRENT").update(status="stopped")
    assert refused.value.status == 400
    assert of_call(begun.sid).update(status="stopped").status == "stopped"
    client.calls(call.sid).update(status="completed")
    sim.advance(2)
    assert [(each.sid, each.status) for each in of_call.list()] == [(begun.sid, "absent"), (whole.sid, "completed")]
    assert (
        client.recordings(whole.sid).fetch().media_url
        == f"{sim.url}/2010-04-01/Accounts/{sim.account_sid}/Recordings/{whole.sid}"
    )
    assert client.recordings(whole.sid).delete()
    with pytest.raises(TwilioRestException):
        client.recordings(whole.sid).fetch()
