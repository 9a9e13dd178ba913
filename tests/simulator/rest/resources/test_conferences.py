"""Conferences and participants over REST, and what each change is to the conference."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from simulator.setup import (
    ALL_EVENTS,
    ANSWERS,
    BUSY,
    FAILS,
    FROM,
    NEVER,
    VOICEMAIL,
    Json,
    SimulatorSetup,
    simulator_setup,
)
from simulator.switch.test_conference import EVERY_EVENT, ROOM_CALLBACK, dialled, enter, events, last, reported, room

MISSING = "CF" + "0" * 32


class Rooms:
    """The conferences of a simulator over REST."""

    def __init__(self, setup: SimulatorSetup) -> None:
        self.setup = setup
        self.path = f"{setup.account}/Conferences"

    async def listed(self, **query: Any) -> list[Json]:
        status, body = await self.setup.request("GET", f"{self.path}.json", query)
        assert status == 200, body
        conferences: list[Json] = body["conferences"]
        return conferences

    async def one(self) -> str:
        """The SID of the only conference that is going on."""
        (conference,) = await self.listed(Status="in-progress")
        return str(conference["sid"])

    async def fetch(self, sid: str) -> Json:
        status, body = await self.setup.request("GET", f"{self.path}/{sid}.json")
        assert status == 200, body
        return body

    async def update(self, sid: str, **form: Any) -> tuple[int, Json]:
        return await self.setup.request("POST", f"{self.path}/{sid}.json", form)

    async def participants(self, sid: str, **query: Any) -> list[Json]:
        status, body = await self.setup.request("GET", f"{self.path}/{sid}/Participants.json", query)
        assert status == 200, body
        participants: list[Json] = body["participants"]
        return participants

    async def participant(self, sid: str, who: str, method: str = "GET", **form: Any) -> tuple[int, Json]:
        return await self.setup.request(method, f"{self.path}/{sid}/Participants/{quote(who)}.json", form)

    async def dial(self, name: str = "room", to: str = ANSWERS, **form: Any) -> tuple[int, Json]:
        form = {
            "To": to,
            "From": FROM,
            "ConferenceStatusCallback": f"{self.setup.listener.url}{ROOM_CALLBACK}",
            "ConferenceStatusCallbackEvent": EVERY_EVENT.split(),
        } | form
        return await self.setup.request("POST", f"{self.path}/{quote(name)}/Participants.json", form)


@pytest.fixture
async def rooms(setup: SimulatorSetup) -> AsyncIterator[Rooms]:
    yield Rooms(setup)


@pytest.fixture
async def two(setup: SimulatorSetup) -> tuple[str, str]:
    """Two in a conference, the second with a label."""
    first = await enter(setup, dialled(room(setup), then="<Pause length='60'/>"))
    return first, await enter(setup, dialled(room(setup, participantLabel="ann b"), then="<Pause length='60'/>"))


class TestConferences:
    async def test_one_from_its_begin_to_its_end(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        assert await rooms.listed() == []
        first = await enter(setup, dialled(room(setup)))
        sid = await rooms.one()
        shown = await rooms.fetch(sid)
        assert (shown["friendly_name"], shown["status"], shown["region"]) == ("room", "in-progress", "us1")
        assert (shown["reason_conference_ended"], shown["call_sid_ending_conference"]) == (None, None)
        await setup.update(first, Status="completed")
        await setup.advance(1)
        shown = await rooms.fetch(sid)
        assert shown["status"] == "completed"
        assert shown["reason_conference_ended"] == "last-participant-left"
        assert shown["call_sid_ending_conference"] == first

    async def test_filters(self) -> None:
        now = datetime(2026, 1, 5, 12, tzinfo=UTC)
        clock = [now]
        async with simulator_setup(wall=lambda: clock[0]) as setup:
            rooms = Rooms(setup)
            old = await enter(setup, dialled(room(setup, "old")))
            clock[0] += timedelta(days=1)
            await enter(setup, dialled(room(setup, "new")))
            clock[0] += timedelta(days=1)
            await setup.update(old, Status="completed")
            await setup.advance(1)

            async def names(**query: str) -> list[str]:
                return [each["friendly_name"] for each in await rooms.listed(**query)]

            assert await names() == ["new", "old"]
            assert await names(FriendlyName="old") == ["old"]
            assert await names(Status="completed") == ["old"]
            assert await names(DateCreated="2026-01-05") == ["old"]
            assert await names(**{"DateCreated>": "2026-01-06"}) == ["new"]
            assert await names(**{"DateUpdated>": "2026-01-07"}) == ["old"]
            assert await names(**{"DateUpdated<": "2026-01-07"}) == ["new"]
            assert await names(PageSize="1") == ["new"]

    async def test_pages(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        for number in range(3):
            await enter(setup, dialled(room(setup, f"room {number}")))
        status, body = await setup.request("GET", f"{rooms.path}.json", {"PageSize": "2"})
        assert [each["friendly_name"] for each in body["conferences"]] == ["room 2", "room 1"]
        status, body = await setup.request("GET", body["next_page_uri"])
        assert (status, [each["friendly_name"] for each in body["conferences"]]) == (200, ["room 0"])

    async def test_ended_by_the_api(self, setup: SimulatorSetup, rooms: Rooms, two: tuple[str, str]) -> None:
        sid = await rooms.one()
        status, body = await rooms.update(sid, Status="completed")
        assert (status, body["status"], body["call_sid_ending_conference"]) == (200, "completed", None)
        await setup.advance(1)
        assert events(setup)[-3:] == ["participant-leave", "participant-leave", "conference-end"]
        assert last(setup, "participant-leave")["ReasonParticipantLeft"] == "conference_ended_via_api"
        assert last(setup, "conference-end")["ReasonConferenceEnded"] == "conference-ended-via-api"
        assert "CallSidEndingConference" not in last(setup, "conference-end")
        for call in two:  # their next verb runs
            assert (await setup.fetch(call))["status"] == "in-progress"
        assert (await rooms.update(sid, Status="completed"))[0] == 400
        assert await rooms.participants(sid) == []

    async def test_an_announcement_to_all(self, setup: SimulatorSetup, rooms: Rooms, two: tuple[str, str]) -> None:
        setup.listener.documents["/say"] = "<Response><Say>We are being recorded</Say></Response>"
        sid, url = await rooms.one(), f"{setup.listener.url}/say"
        assert (await rooms.update(sid, AnnounceUrl=url))[0] == 200
        await setup.advance(10)
        asked = setup.listener.at("/say")
        assert [(arrived.method, arrived.form["ConferenceSid"]) for arrived in asked] == [("POST", sid)]
        assert last(setup, "announcement-end")["AnnounceUrl"] == url
        await rooms.update(sid, AnnounceUrl=f"{setup.listener.url}/none", AnnounceMethod="GET")
        await setup.advance(10)
        assert last(setup, "announcement-fail")["ReasonAnnouncementFailed"]
        assert ("11200", "0") in await setup.notes(two[0])

    async def test_refusals(self, setup: SimulatorSetup, rooms: Rooms, two: tuple[str, str]) -> None:
        sid = await rooms.one()
        for path in (MISSING, f"{MISSING}/Participants", f"{sid}/Participants/nobody"):
            assert (await setup.request("GET", f"{rooms.path}/{path}.json"))[1]["code"] == 20404
        assert (await rooms.update(MISSING, Status="completed"))[1]["code"] == 20404
        assert (await rooms.update(sid, Status="ended"))[1]["code"] == 20001
        assert (await rooms.update(sid, AnnounceUrl="nowhere"))[1]["code"] == 20001
        assert (await rooms.participant(sid, two[0], "POST", HoldUrl="nowhere"))[1]["code"] == 20001
        assert (await rooms.participant(sid, two[0], "POST", Coaching="true"))[1]["code"] == 20001
        coach = {"Coaching": "true", "CallSidToCoach": "CA" + "0" * 32}
        assert (await rooms.participant(sid, two[0], "POST", **coach))[1]["code"] == 13240

    async def test_only_the_newest_that_ended_are_kept(self) -> None:
        async with simulator_setup(keep_finished=1) as setup:
            for number in range(3):
                await setup.update(await enter(setup, dialled(room(setup, f"room {number}"))), Status="completed")
            assert [each["friendly_name"] for each in await Rooms(setup).listed()] == ["room 2"]


class TestParticipants:
    async def test_list_and_fetch(self, rooms: Rooms, two: tuple[str, str]) -> None:
        sid = await rooms.one()
        listed = await rooms.participants(sid)
        assert [each["call_sid"] for each in listed] == [two[1], two[0]]
        assert [each["label"] for each in listed] == ["ann b", None]
        for who in (two[1], "ann b"):
            status, body = await rooms.participant(sid, who)
            assert (status, body["call_sid"], body["status"]) == (200, two[1], "connected")
        await rooms.participant(sid, "ann b", "POST", Muted="true")
        assert [each["label"] for each in await rooms.participants(sid, Muted="true")] == ["ann b"]
        assert [each["label"] for each in await rooms.participants(sid, Muted="false", Hold="false")] == [None]
        assert await rooms.participants(sid, Coaching="true") == []

    async def test_mute(self, setup: SimulatorSetup, rooms: Rooms, two: tuple[str, str]) -> None:
        sid = await rooms.one()
        for value, muted in (("true", True), ("true", True), ("anything", False)):
            status, body = await rooms.participant(sid, two[0], "POST", Muted=value)
            assert (status, body["muted"]) == (200, muted)
        await setup.advance(1)
        assert events(setup)[3:] == ["participant-mute", "participant-unmute"]
        assert last(setup, "participant-mute")["Muted"] == "true"

    async def test_hold_and_what_is_heard(self, setup: SimulatorSetup, rooms: Rooms, two: tuple[str, str]) -> None:
        music = "<Response><Pause length='5'/><Redirect/></Response>"
        setup.listener.documents["/music"] = music
        sid, url = await rooms.one(), f"{setup.listener.url}/music"
        status, body = await rooms.participant(sid, two[0], "POST", Hold="true", HoldUrl=url)
        assert (status, body["hold"], body["muted"]) == (200, True, False)
        await setup.advance(12)
        asked = setup.listener.at("/music")
        assert len(asked) == 3
        assert (asked[0].method, asked[0].form["CallSid"]) == ("GET", two[0])
        await rooms.participant(sid, two[0], "POST", Hold="false")
        await setup.advance(12)
        assert len(setup.listener.at("/music")) == 3
        assert events(setup)[3:] == ["participant-hold", "participant-unhold"]
        await rooms.participant(sid, two[0], "POST", Hold="true", HoldUrl=url, HoldMethod="POST")
        await setup.advance(1)
        assert setup.listener.at("/music")[-1].method == "POST"

    async def test_hold_music_that_can_not_be_had(
        self, setup: SimulatorSetup, rooms: Rooms, two: tuple[str, str]
    ) -> None:
        sid = await rooms.one()
        await rooms.participant(sid, two[0], "POST", Hold="true", HoldUrl=f"{setup.listener.url}/none")
        await setup.advance(1)
        assert (await rooms.participant(sid, two[0]))[1]["hold"]
        assert await setup.notes(two[0]) == [("11200", "0")]

    async def test_an_announcement_to_one(self, setup: SimulatorSetup, rooms: Rooms, two: tuple[str, str]) -> None:
        setup.listener.documents["/say"] = "<Response><Say>Five minutes left</Say></Response>"
        sid, url = await rooms.one(), f"{setup.listener.url}/say"
        await rooms.participant(sid, two[0], "POST", AnnounceUrl=url)
        await setup.advance(10)
        assert [arrived.form["CallSid"] for arrived in setup.listener.at("/say")] == [two[0]]
        assert last(setup, "announcement-end")["CallSid"] == two[0]

    async def test_what_else_may_be_changed(self, setup: SimulatorSetup, rooms: Rooms, two: tuple[str, str]) -> None:
        sid = await rooms.one()
        coach = {"Coaching": "true", "CallSidToCoach": two[1]}
        status, body = await rooms.participant(sid, two[0], "POST", EndConferenceOnExit="true", **coach)
        assert (status, body["end_conference_on_exit"], body["coaching"]) == (200, True, True)
        assert body["call_sid_to_coach"] == two[1]
        await setup.advance(1)
        assert events(setup)[3:] == ["participant-modify"]
        body = (await rooms.participant(sid, two[0], "POST", Coaching="false"))[1]
        assert (body["coaching"], body["call_sid_to_coach"]) == (False, None)
        await setup.update(two[0], Status="completed")
        await setup.advance(1)
        assert last(setup, "conference-end")["CallSidEndingConference"] == two[0]

    async def test_the_music_of_one_who_waits(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        setup.listener.documents["/wait"] = "<Response><Say>Please wait</Say></Response>"
        sid = await enter(setup, dialled(room(setup)))
        await rooms.participant(await rooms.one(), sid, "POST", WaitUrl=f"{setup.listener.url}/wait", WaitMethod="GET")
        await setup.advance(1)
        assert [arrived.method for arrived in setup.listener.at("/wait")] == ["GET"]

    async def test_a_kick(self, setup: SimulatorSetup, rooms: Rooms, two: tuple[str, str]) -> None:
        sid = await rooms.one()
        assert (await rooms.participant(sid, "ann b", "DELETE"))[0] == 204
        assert (await rooms.participant(sid, "ann b"))[0] == 404
        await setup.advance(1)
        assert last(setup, "participant-leave")["ReasonParticipantLeft"] == "participant_updated_via_api"
        assert (await setup.fetch(two[1]))["status"] == "in-progress"  # its next verb runs
        assert (await rooms.participant(sid, two[0], "DELETE"))[0] == 204
        await setup.advance(1)
        assert last(setup, "conference-end")["ReasonConferenceEnded"] == "last-participant-kicked"

    async def test_a_kick_that_ends_it(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        await enter(setup, dialled(room(setup)))
        chief = await enter(setup, dialled(room(setup, endConferenceOnExit="true")))
        await rooms.participant(await rooms.one(), chief, "DELETE")
        await setup.advance(1)
        end = last(setup, "conference-end")
        assert end["ReasonConferenceEnded"] == "participant-with-end-conference-on-exit-kicked"


class TestDialling:
    async def test_one_who_answers(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        form: Json = {"StatusCallback": setup.status, "StatusCallbackEvent": ALL_EVENTS}
        status, body = await rooms.dial(Label="agent", EndConferenceOnExit="true", Muted="true", **form)
        assert (status, body["status"], body["queue_time"], body["label"]) == (201, "queued", "0", "agent")
        assert (body["muted"], body["end_conference_on_exit"]) == (True, True)
        sid, call = body["conference_sid"], body["call_sid"]
        assert (await rooms.fetch(sid))["status"] == "init"
        await setup.advance(1)
        assert [each["status"] for each in await rooms.participants(sid)] == ["ringing"]
        assert not events(setup)
        await setup.advance(3)
        status, body = await rooms.participant(sid, "agent")
        assert (body["status"], body["queue_time"]) == ("connected", None)
        assert (await rooms.fetch(sid))["status"] == "in-progress"
        leg = await setup.fetch(call)
        assert (leg["direction"], leg["parent_call_sid"], leg["status"]) == ("outbound-api", None, "in-progress")
        await enter(setup, dialled(room(setup)))
        assert events(setup) == ["participant-join", "participant-join", "conference-start"]
        assert (await rooms.participant(sid, call, "DELETE"))[0] == 204
        await setup.advance(1)
        assert (await setup.fetch(call))["status"] == "completed"  # it has no document to go on with
        assert setup.statuses(call) == ["initiated", "ringing", "in-progress", "completed"]

    @pytest.mark.parametrize(("to", "status"), [(BUSY, "busy"), (NEVER, "no-answer"), (FAILS, "failed")])
    async def test_one_who_does_not(self, setup: SimulatorSetup, rooms: Rooms, to: str, status: str) -> None:
        await enter(setup, dialled(room(setup)))
        sid = await rooms.one()
        body = (await rooms.dial(sid, to, Timeout="5"))[1]
        assert body["conference_sid"] == sid
        await setup.advance(10)
        assert events(setup) == ["participant-join", "participant-leave"]
        left = last(setup, "participant-leave")
        assert (left["CallSid"], left["ParticipantCallStatus"]) == (body["call_sid"], status)
        assert left["ReasonParticipantLeft"] == "participant_add_failed"
        assert len(await rooms.participants(sid)) == 1

    async def test_nobody_ever_joins(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        body = (await rooms.dial(to=BUSY))[1]
        await setup.advance(10)
        assert events(setup) == ["participant-leave", "conference-end"]
        assert (await rooms.fetch(body["conference_sid"]))["status"] == "completed"

    async def test_the_end_reaches_one_who_rings(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        await enter(setup, dialled(room(setup)))
        sid = await rooms.one()
        body = (await rooms.dial(sid, NEVER))[1]
        await setup.advance(2)
        await rooms.update(sid, Status="completed")
        await setup.advance(1)
        assert (await setup.fetch(body["call_sid"]))["status"] == "canceled"
        left = last(setup, "participant-leave")
        assert left["ParticipantCallStatus"] == "canceled"
        assert left["ReasonParticipantLeft"] == "conference_ended_via_api"

    async def test_it_waits_for_one_who_rings(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        first = await enter(setup, dialled(room(setup)))
        sid = await rooms.one()
        await rooms.dial(sid)
        await setup.update(first, Status="completed")
        assert (await rooms.fetch(sid))["status"] == "in-progress"
        await setup.advance(5)
        assert [each["status"] for each in await rooms.participants(sid)] == ["connected"]

    async def test_one_who_rings_is_kicked(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        body = (await rooms.dial(to=NEVER))[1]
        await setup.advance(2)
        assert (await rooms.participant(body["conference_sid"], body["call_sid"], "DELETE"))[0] == 204
        assert (await setup.fetch(body["call_sid"]))["status"] == "canceled"

    async def test_machine_detection(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        body = (await rooms.dial(to=VOICEMAIL, MachineDetection="Enable"))[1]
        await setup.advance(10)
        assert (await setup.fetch(body["call_sid"]))["answered_by"] == "machine_start"

    async def test_default_events_are_start_and_end(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        await rooms.dial(ConferenceStatusCallbackEvent=[])
        await setup.advance(5)
        await rooms.update(await rooms.one(), Status="completed")
        await setup.advance(1)
        assert events(setup) == ["conference-end"]

    async def test_refusals(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        await rooms.dial(Label="ann")
        for form, code in (
            ({"To": ""}, 21201),
            ({"From": ""}, 21213),
            ({"Label": "ann"}, 16026),
            ({"Label": "a/b"}, 16024),
            ({"Coaching": "true", "CallSidToCoach": "CA" + "0" * 32}, 13240),
            ({"Timeout": "2"}, 20001),
            ({"MachineDetection": "true"}, 20001),
            ({"WaitUrl": "nowhere"}, 20001),
            ({"ConferenceStatusCallback": "nowhere"}, 21609),
        ):
            status, body = await rooms.dial(**form)
            assert (status, body["code"]) == (400, code), form
        assert (await rooms.dial(MISSING))[1]["code"] == 20404
        assert len(await setup.calls()) == 1  # no other leg was dialled
        await rooms.dial(MaxParticipants="2")
        assert (await rooms.dial(MaxParticipants="2"))[1]["code"] == 16020

    async def test_one_that_has_ended_takes_nobody(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        sid = (await rooms.dial(to=BUSY))[1]["conference_sid"]
        await setup.advance(10)
        assert (await rooms.dial(sid))[1]["code"] == 20404
        again = (await rooms.dial())[1]["conference_sid"]
        assert again != sid

    async def test_events_that_are_none_are_noted(self, setup: SimulatorSetup, rooms: Rooms) -> None:
        body = (await rooms.dial(ConferenceStatusCallbackEvent="start end"))[1]
        await setup.advance(5)
        assert await setup.notes(body["call_sid"]) == [("21626", "1")]
        assert not reported(setup)
