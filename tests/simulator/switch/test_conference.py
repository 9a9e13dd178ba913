"""Conferences: when they begin and end, what their participants hear, and what is reported of them."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from simulator.setup import ANSWERS, HANGS_UP, SimulatorSetup, simulator_setup

from callctl.simulator import Sent

EVERY_EVENT = "start end join leave mute hold modify announcement"
ROOM_CALLBACK = "/status/room"


def room(setup: SimulatorSetup, name: str = "room", *, events: str = EVERY_EVENT, **attributes: Any) -> str:
    """A <Conference> with callbacks of all events."""
    attributes = {
        "statusCallback": f"{setup.listener.url}{ROOM_CALLBACK}",
        "statusCallbackEvent": events,
    } | attributes
    words = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<Conference{words}>{name}</Conference>"


def dialled(noun: str, *, then: str = "", **attributes: Any) -> str:
    words = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<Response><Dial{words}>{noun}</Dial>{then}</Response>"


async def enter(setup: SimulatorSetup, twiml: str, *, to: str = ANSWERS) -> str:
    """Place a call that is answered and enters; return its SID."""
    call = await setup.place(to, Twiml=twiml)
    await setup.advance(3)
    return str(call["sid"])


def reported(setup: SimulatorSetup) -> list[dict[str, str]]:
    forms = [arrived.form for arrived in setup.listener.at(ROOM_CALLBACK)]
    return sorted(forms, key=lambda form: int(form["SequenceNumber"]))


def events(setup: SimulatorSetup) -> list[str]:
    return [form["StatusCallbackEvent"] for form in reported(setup)]


def last(setup: SimulatorSetup, event: str) -> dict[str, str]:
    return [form for form in reported(setup) if form["StatusCallbackEvent"] == event][-1]


def fields(form: dict[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: form[name] for name in names if name in form}


class TestStartAndEnd:
    async def test_two_make_a_conference_and_the_last_ends_it(self, setup: SimulatorSetup) -> None:
        first = await enter(setup, dialled(room(setup, participantLabel="ann")))
        assert events(setup) == ["participant-join"]
        second = await enter(setup, dialled(room(setup)))
        assert events(setup) == ["participant-join", "participant-join", "conference-start"]
        await setup.update(second, Status="completed")
        await setup.update(first, Status="completed")
        await setup.advance(1)
        assert events(setup)[3:] == ["participant-leave", "participant-leave", "conference-end"]
        assert [form["SequenceNumber"] for form in reported(setup)] == ["1", "2", "3", "4", "5", "6"]
        leave, end = last(setup, "participant-leave"), last(setup, "conference-end")
        assert set(leave) == {
            *("ConferenceSid", "FriendlyName", "AccountSid", "SequenceNumber", "Timestamp", "StatusCallbackEvent"),
            *("CallSid", "Muted", "Hold", "Coaching", "EndConferenceOnExit", "StartConferenceOnEnter"),
            *("ParticipantLabel", "ParticipantCallStatus", "ReasonParticipantLeft"),
        }
        assert leave["CallSid"] == first
        assert leave["ParticipantCallStatus"] == "completed"
        assert leave["ReasonParticipantLeft"] == "participant_hung_up"
        assert leave["Timestamp"].endswith(" +0000")
        assert end["ConferenceSid"].startswith("CF")
        assert end["ReasonConferenceEnded"] == "last-participant-left"
        assert end["CallSidEndingConference"] == first
        assert end["ParticipantLabelEndingConference"] == "ann"
        assert end["Reason"] == f"Participant {first} left the conference"
        assert "CallSid" not in end

    async def test_it_begins_with_one_who_starts_it(self, setup: SimulatorSetup) -> None:
        waits = dialled(room(setup, startConferenceOnEnter="false"))
        await enter(setup, waits)
        await enter(setup, waits)
        assert "conference-start" not in events(setup)
        await enter(setup, dialled(room(setup)))
        assert events(setup)[-1] == "conference-start"

    async def test_one_who_ends_it_lets_the_others_go_on(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/after"] = "<Response><Say>Bye</Say></Response>"
        action = f"{setup.listener.url}/after"
        other = await enter(setup, dialled(room(setup), action=action, then="<Pause length='99'/>"))
        moderator = await enter(setup, dialled(room(setup, endConferenceOnExit="true")))
        await setup.update(moderator, Status="completed")
        await setup.advance(1)
        left = [form for form in reported(setup) if form["StatusCallbackEvent"] == "participant-leave"]
        assert [(form["CallSid"], form["ReasonParticipantLeft"], form["ParticipantCallStatus"]) for form in left] == [
            (moderator, "participant_hung_up", "completed"),
            (other, "moderator_ended_conference", "in-progress"),
        ]
        assert last(setup, "conference-end")["ReasonConferenceEnded"] == "participant-with-end-conference-on-exit-left"
        asked = setup.listener.at("/after")[0].form
        assert asked["DialCallStatus"] == "answered"
        assert not {"DialCallSid", "DialCallDuration"} & set(asked)
        assert (await setup.fetch(other))["status"] == "completed"

    async def test_without_an_action_the_next_verb_runs(self, setup: SimulatorSetup) -> None:
        other = await enter(setup, dialled(room(setup), then="<Pause length='30'/>"))
        moderator = await enter(setup, dialled(room(setup, endConferenceOnExit="true")))
        await setup.update(moderator, Status="completed")
        await setup.advance(20)
        assert (await setup.fetch(other))["status"] == "in-progress"
        await setup.advance(20)
        assert (await setup.fetch(other))["status"] == "completed"

    async def test_the_same_name_opens_another_one_later(self, setup: SimulatorSetup) -> None:
        for _ in range(2):
            await setup.update(await enter(setup, dialled(room(setup))), Status="completed")
            await setup.advance(1)
        assert len({form["ConferenceSid"] for form in setup_forms(setup)}) == 2

    async def test_a_redirect_takes_out_at_once(self, setup: SimulatorSetup) -> None:
        first = await enter(setup, dialled(room(setup), action=f"{setup.listener.url}/after"))
        await enter(setup, dialled(room(setup)))
        await setup.update(first, Twiml="<Response><Pause length='60'/></Response>")
        await setup.advance(1)
        left = last(setup, "participant-leave")
        assert (left["CallSid"], left["ReasonParticipantLeft"]) == (first, "participant_updated_via_api")
        assert left["ParticipantCallStatus"] == "in-progress"
        assert not setup.listener.at("/after")
        await setup.check_goes_on(first)

    async def test_the_time_limit_of_the_dial_and_its_star(self, setup: SimulatorSetup) -> None:
        limited = await enter(setup, dialled(room(setup), timeLimit=20))
        starred = await enter(setup, dialled(room(setup), hangupOnStar="true"))
        staying = await enter(setup, dialled(room(setup)))
        await setup.by_hand(staying, "press", digits="*")
        await setup.by_hand(starred, "press", digits="1*")
        await setup.advance(1)
        assert (await setup.fetch(starred))["status"] == "completed"
        await setup.advance(20)
        assert (await setup.fetch(limited))["status"] == "completed"
        assert (await setup.fetch(staying))["status"] == "in-progress"

    async def test_the_far_end_hangs_up(self, setup: SimulatorSetup) -> None:
        action = f"{setup.listener.url}/after"
        await enter(setup, dialled(room(setup), action=action, method="GET"), to=HANGS_UP)
        await setup.advance(10)
        assert events(setup) == ["participant-join", "participant-leave", "conference-end"]
        (asked,) = setup.listener.at("/after")
        assert asked.method == "GET"
        assert (asked.form["CallStatus"], asked.form["DialCallStatus"]) == ("completed", "answered")


def setup_forms(setup: SimulatorSetup) -> list[dict[str, str]]:
    return [arrived.form for arrived in setup.listener.at(ROOM_CALLBACK)]


class TestCallbacks:
    async def test_the_first_to_join_fixes_them(self, setup: SimulatorSetup) -> None:
        await enter(setup, dialled(room(setup, events="join")))
        other = f"{setup.listener.url}/status/other"
        second = await enter(setup, dialled(room(setup, statusCallback=other)))
        await setup.update(second, Status="completed")
        await setup.advance(1)
        assert events(setup) == ["participant-join", "participant-join"]
        assert [form["SequenceNumber"] for form in reported(setup)] == ["1", "2"]
        assert not setup.listener.at("/status/other")

    async def test_there_are_none_by_default(self, setup: SimulatorSetup) -> None:
        await enter(setup, dialled("<Conference>room</Conference>"))
        await enter(setup, dialled(room(setup, events="")))
        assert not events(setup)

    async def test_the_log_has_their_events(self) -> None:
        seen: list[object] = []
        async with simulator_setup(on_traffic=seen.append) as setup:
            await enter(setup, dialled(room(setup, events="join end")))
            await setup.advance(1)
            sid = await enter(setup, dialled(room(setup, endConferenceOnExit="true")))
            await setup.update(sid, Status="completed")
            await setup.advance(1)
        sent = [(each.about, each.call) for each in seen if isinstance(each, Sent) and ROOM_CALLBACK in each.url]
        conference = reported(setup)[0]["ConferenceSid"]
        assert sent[1:] == [("participant-join", sid), ("conference-end", conference)]

    async def test_by_get(self, setup: SimulatorSetup) -> None:
        await enter(setup, dialled(room(setup, statusCallbackMethod="GET")))
        assert [arrived.method for arrived in setup.listener.at(ROOM_CALLBACK)] == ["GET"]

    async def test_one_that_fails_is_noted(self, setup: SimulatorSetup) -> None:
        sid = await enter(setup, dialled(room(setup, statusCallback=f"{setup.listener.url}/nothing")))
        assert ("11200", "0") in await setup.notes(sid)

    async def test_who_speaks_and_falls_silent(self, setup: SimulatorSetup) -> None:
        first = await enter(setup, dialled(room(setup, events="speaker")))
        await setup.by_hand(first, "say", words="is anybody there")
        await setup.advance(5)
        assert events(setup) == []  # nobody hears one who waits
        await enter(setup, dialled(room(setup)))
        for _ in range(2):  # the second words behind the first
            await setup.by_hand(first, "say", words="a" * 50)
        await setup.advance(5.9)
        assert events(setup) == ["participant-speech-start"]
        await setup.advance(0.2)
        assert events(setup) == ["participant-speech-start", "participant-speech-stop"]
        assert {form["CallSid"] for form in reported(setup)} == {first}
        assert await setup.notes(first) == []

    async def test_who_is_muted_or_leaves_is_not_heard(self, setup: SimulatorSetup) -> None:
        first = await enter(setup, dialled(room(setup, events="speaker")))
        second = await enter(setup, dialled(room(setup, muted="true")))
        await setup.by_hand(second, "say", words="can you hear me")
        await setup.advance(5)
        assert events(setup) == []
        await setup.by_hand(first, "say", words="a" * 50)
        await setup.update(first, Status="completed")
        await setup.advance(5)
        assert events(setup) == ["participant-speech-start"]

    async def test_an_event_that_is_none_is_noted(self, setup: SimulatorSetup) -> None:
        sid = await enter(setup, dialled(room(setup, events="participant-join join")))
        assert await setup.notes(sid) == [("21626", "1")]
        assert events(setup) == ["participant-join"]

    async def test_the_same_seed_gives_the_same_sids(self) -> None:
        sids = set()
        for _ in range(2):
            async with simulator_setup(seed=7) as setup:
                await enter(setup, dialled(room(setup)))
                sids.add(reported(setup)[0]["ConferenceSid"])
        assert len(sids) == 1


class TestWaiting:
    async def test_the_wait_url_runs_once_until_it_begins(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/wait"] = "<Response><Play>a.mp3</Play><Gather/><Redirect>/more</Redirect></Response>"
        setup.listener.documents["/more"] = "<Response><Say>Please hold the line</Say></Response>"
        wait = f"{setup.listener.url}/wait"
        first = await enter(setup, dialled(room(setup, waitUrl=wait)))
        await setup.advance(60)
        asked = setup.listener.at("/wait")
        assert [(arrived.method, arrived.form["CallSid"]) for arrived in asked] == [("POST", first)]
        assert len(setup.listener.at("/more")) == 1
        assert await setup.notes(first) == [("12200", "1")]  # Gather is not allowed there
        await enter(setup, dialled(room(setup, waitUrl=wait)))
        await setup.advance(30)
        assert len(setup.listener.at("/wait")) == 1

    async def test_a_loop_ends_as_the_conference_begins(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/wait"] = "<Response><Pause length='5'/><Redirect/></Response>"
        attributes = {"waitUrl": f"{setup.listener.url}/wait", "waitMethod": "GET"}
        await enter(setup, dialled(room(setup, **attributes)))
        await setup.advance(20)
        asked = setup.listener.at("/wait")
        assert len(asked) > 3
        assert asked[0].method == "GET"
        await enter(setup, dialled(room(setup)))
        count = len(setup.listener.at("/wait"))
        await setup.advance(20)
        assert len(setup.listener.at("/wait")) == count

    async def test_one_that_can_not_be_had_keeps_out(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/after"] = "<Response><Pause length='60'/></Response>"
        action = f"{setup.listener.url}/after"
        sid = await enter(setup, dialled(room(setup, waitUrl=f"{setup.listener.url}/none"), action=action))
        await setup.advance(1)
        assert [arrived.form["DialCallStatus"] for arrived in setup.listener.at("/after")] == ["failed"]
        assert last(setup, "participant-leave")["ReasonParticipantLeft"] == "participant_add_failed"
        assert await setup.notes(sid) == [("11200", "0")]

    @pytest.mark.parametrize(
        "url",
        ["", "http://twimlets.com/holdmusic?Bucket=com.twilio.music.ambient", "https://api.twilio.com/cowbell.mp3"],
    )
    async def test_silence_and_twilios_music_are_not_asked_for(self, setup: SimulatorSetup, url: str) -> None:
        sid = await enter(setup, dialled(room(setup, waitUrl=url)))
        await setup.advance(5)
        assert events(setup) == ["participant-join"]
        assert not await setup.notes(sid)


class TestRefusals:
    @pytest.fixture
    def refused(self, setup: SimulatorSetup) -> Callable[[str], Any]:
        async def enters(noun: str) -> str:
            """Enter a room that has one in it; the Dial fails, and its action hears so."""
            setup.listener.documents["/after"] = "<Response/>"
            await enter(setup, dialled(room(setup, participantLabel="ann")))
            sid = await enter(setup, dialled(noun, action=f"{setup.listener.url}/after"))
            assert [arrived.form["DialCallStatus"] for arrived in setup.listener.at("/after")] == ["failed"]
            assert events(setup) == ["participant-join"]
            return (await setup.notes(sid))[0][0]

        return enters

    @pytest.mark.parametrize(
        ("code", "attributes"),
        [
            ("16025", {"participantLabel": "ann"}),
            ("16023", {"participantLabel": "a/b"}),
            ("16023", {"participantLabel": "CA" + "0" * 32}),
            ("16023", {"participantLabel": "x" * 129}),
            ("13240", {"coach": "CA" + "0" * 32}),
        ],
    )
    async def test_codes(
        self, setup: SimulatorSetup, refused: Callable[[str], Any], code: str, attributes: dict[str, str]
    ) -> None:
        assert await refused(room(setup, **attributes)) == code

    async def test_a_name_must_be_there(self, setup: SimulatorSetup, refused: Callable[[str], Any]) -> None:
        assert await refused(room(setup, "")) == "12200"

    async def test_a_full_room(self, setup: SimulatorSetup) -> None:
        for _ in range(2):
            await enter(setup, dialled(room(setup, maxParticipants=2)))
        third = await enter(setup, dialled(room(setup, maxParticipants=2)))
        assert await setup.notes(third) == [("16020", "0")]
        assert (await setup.fetch(third))["status"] == "completed"

    async def test_coaching(self, setup: SimulatorSetup) -> None:
        agent = await enter(setup, dialled(room(setup)))
        await enter(setup, dialled(room(setup, coach=agent)))
        assert last(setup, "participant-join")["Coaching"] == "true"


class TestRunningDialBecomesAConference:
    """A Dial's two legs are moved into one conference."""

    @pytest.fixture
    async def family(self, setup: SimulatorSetup) -> tuple[str, str]:
        """A parent that dialled a child, both connected; the Dial's action leads into the room."""
        setup.listener.documents["/after"] = dialled(room(setup))
        twiml = f'<Response><Dial action="{setup.listener.url}/after">{ANSWERS}</Dial></Response>'
        parent = await enter(setup, twiml)
        await setup.advance(3)
        return parent, (await setup.children(parent))[0]["sid"]

    async def test_child_first_both_end_in_the_room(self, setup: SimulatorSetup, family: tuple[str, str]) -> None:
        parent, child = family
        assert (await setup.update(child, Twiml=dialled(room(setup))))[0] == 200
        await setup.advance(2)
        assert events(setup) == ["participant-join", "participant-join", "conference-start"]
        assert {form["CallSid"] for form in reported(setup) if "CallSid" in form} == {parent, child}
        assert "DialCallDuration" not in setup.listener.at("/after")[0].form
        for sid in family:
            assert (await setup.fetch(sid))["status"] == "in-progress"
            assert "completed" not in setup.statuses(sid)

    async def test_parent_first_drops_the_child(self, setup: SimulatorSetup, family: tuple[str, str]) -> None:
        parent, child = family
        assert (await setup.update(parent, Twiml=dialled(room(setup))))[0] == 200
        await setup.advance(2)
        assert (await setup.fetch(child))["status"] == "completed"
        assert (await setup.update(child, Twiml=dialled(room(setup))))[1]["code"] == 21220
        assert (await setup.fetch(parent))["status"] == "in-progress"
        assert [form.get("CallSid") for form in reported(setup)] == [parent]

    async def test_a_parent_without_an_action_is_gone(self, setup: SimulatorSetup) -> None:
        parent = await enter(setup, f"<Response><Dial>{ANSWERS}</Dial></Response>")
        await setup.advance(3)
        (child,) = await setup.children(parent)
        await setup.update(child["sid"], Twiml=dialled(room(setup)))
        assert (await setup.update(parent, Twiml=dialled(room(setup))))[1]["code"] == 21220
        assert (await setup.fetch(child["sid"]))["status"] == "in-progress"


async def test_a_call_that_comes_in_is_answered_by_the_conference(setup: SimulatorSetup) -> None:
    setup.listener.documents["/in"] = dialled(room(setup), answerOnBridge="true")
    call = await setup.incoming(f"{setup.listener.url}/in")
    await setup.advance(1)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"
    assert events(setup) == ["participant-join"]


async def test_nothing_is_reported_when_the_simulator_closes() -> None:
    async with simulator_setup() as setup:
        await enter(setup, dialled(room(setup)))
        await enter(setup, dialled(room(setup)))
        sim = setup.sim
    assert [callback.event for callback in sim.callbacks if callback.event.startswith("participant")] == [
        "participant-join",
        "participant-join",
    ]
