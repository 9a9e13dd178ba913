"""Queues: what is heard in them, who takes whom, and what each result is called."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from simulator.setup import ANSWERS, HANGS_UP, ArrivedRequest, SimulatorSetup, simulator_setup

from callctl.simulator import FarEnd

MUSIC = "<Response><Play>https://example.com/music.mp3</Play></Response>"
STAY = "<Pause length='60'/>"
AGENT = "+12025550150"


def written(**attributes: str) -> str:
    return "".join(f' {name}="{value}"' for name, value in attributes.items())


async def enqueued(
    setup: SimulatorSetup, name: str = "support", *, then: str = "", to: str = ANSWERS, **attributes: str
) -> str:
    """Place a call that waits in a queue; its action is /result unless others are given. Return its SID."""
    attributes = {"action": f"{setup.listener.url}/result"} | attributes
    twiml = f"<Response><Enqueue{written(**attributes)}>{name}</Enqueue>{then}</Response>"
    call = await setup.place(to, Twiml=twiml)
    await setup.advance(3)
    return str(call["sid"])


async def agent(
    setup: SimulatorSetup, *, of: str = "support", then: str = "", dial: Any = None, to: str = ANSWERS, **queue: str
) -> str:
    """Place a call that takes the next of a queue; its Dial's action is /talked. Return its SID."""
    dial = {"action": f"{setup.listener.url}/talked"} | (dial or {})
    twiml = f"<Response><Dial{written(**dial)}><Queue{written(**queue)}>{of}</Queue></Dial>{then}</Response>"
    call = await setup.place(to, Twiml=twiml)
    await setup.advance(3)
    return str(call["sid"])


@pytest.fixture(autouse=True)
def documents(setup: SimulatorSetup) -> None:
    stay = f"<Response>{STAY}</Response>"
    setup.listener.documents |= {"/music": MUSIC, "/result": stay, "/talked": stay, "/elsewhere": stay}


def result(setup: SimulatorSetup) -> ArrivedRequest:
    (request,) = setup.listener.at("/result")
    return request


def talked(setup: SimulatorSetup) -> dict[str, str]:
    (request,) = setup.listener.at("/talked")
    return {name: value for name, value in request.form.items() if name.startswith("Dial")}


async def queue_of(setup: SimulatorSetup) -> dict[str, Any]:
    _, body = await setup.request("GET", f"{setup.account}/Queues.json")
    (queue,) = body["queues"]
    return dict(queue)


class TestWaiting:
    async def test_the_music_is_asked_again_whenever_it_ends(self, setup: SimulatorSetup) -> None:
        sid = await enqueued(setup, waitUrl=f"{setup.listener.url}/music")
        await setup.advance(6)
        first, second, *_ = asked = setup.listener.at("/music")
        assert len(asked) == 4
        assert (first.method, first.form["CallSid"], first.form["CallStatus"]) == ("POST", sid, "in-progress")
        assert second.at - first.at == pytest.approx(2.1)
        sid = (await queue_of(setup))["sid"]
        fields = {name: value for name, value in asked[2].form.items() if "Queue" in name}
        assert fields == {
            "QueueSid": sid,
            "QueuePosition": "1",
            "QueueTime": "4",
            "AvgQueueTime": "4",
            "CurrentQueueSize": "1",
            "MaxQueueSize": "1000",
        }

    async def test_each_hears_its_own_place(self, setup: SimulatorSetup) -> None:
        music = {"waitUrl": f"{setup.listener.url}/music", "waitUrlMethod": "GET"}
        first = await enqueued(setup, **music)
        second = await enqueued(setup, **music)
        third = await enqueued(setup, **music)

        async def places() -> dict[str, str]:
            setup.listener.arrived.clear()
            await setup.advance(2.1)
            asked = setup.listener.at("/music")
            assert {each.method for each in asked} == {"GET"}
            return {each.form["CallSid"]: each.form["QueuePosition"] for each in asked}

        assert await places() == {first: "1", second: "2", third: "3"}
        await setup.by_hand(first, "hangup")
        assert await places() == {second: "1", third: "2"}

    @pytest.mark.parametrize("url", ["", "http://com.twilio.sounds.music.s3.amazonaws.com/x.mp3"])
    async def test_silence_and_twilios_own_music_are_not_asked(self, setup: SimulatorSetup, url: str) -> None:
        sid = await enqueued(setup, waitUrl=url)
        await setup.advance(600)
        assert (await setup.fetch(sid))["status"] == "in-progress"
        assert not await setup.notes(sid)
        assert (await queue_of(setup))["average_wait_time"] == 601

    async def test_a_key_leads_out_of_it(self) -> None:
        async with simulator_setup(far_end={AGENT: FarEnd(digits="1")}) as setup:
            url = setup.listener.url
            setup.listener.documents |= {
                "/music": "<Response><Gather numDigits='1' action='/key'><Play/></Gather></Response>",
                "/key": "<Response><Leave/><Say>never heard</Say></Response>",
                "/result": f"<Response>{STAY}</Response>",
            }
            sid = await enqueued(setup, to=AGENT, waitUrl=f"{url}/music")
            await setup.advance(2)
            (key,) = setup.listener.at("/key")
            assert (key.form["Digits"], key.form["QueuePosition"]) == ("1", "1")
            assert result(setup).form["QueueResult"] == "leave"
            assert not await setup.notes(sid)
            await setup.check_goes_on(sid)

    async def test_leave_goes_on_behind_it_without_an_action(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/music"] = "<Response><Leave/></Response>"
        sid = await enqueued(setup, action="", waitUrl=f"{setup.listener.url}/music", then=STAY)
        assert (await queue_of(setup))["current_size"] == 0
        await setup.check_goes_on(sid)

    async def test_a_verb_that_is_not_allowed_is_passed_over(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/music"] = f"<Response><Dial>{ANSWERS}</Dial><Pause/></Response>"
        sid = await enqueued(setup, waitUrl=f"{setup.listener.url}/music")
        assert set(await setup.notes(sid)) == {("12200", "1")}
        assert not await setup.children(sid)


class TestResults:
    async def test_the_caller_hangs_up(self, setup: SimulatorSetup) -> None:
        sid = await enqueued(setup)
        await setup.by_hand(sid, "hangup")
        await setup.advance(1)
        form = result(setup).form
        assert (form["QueueResult"], form["CallStatus"], form["QueueTime"]) == ("hangup", "completed", "1")
        assert form["QueueSid"] == (await queue_of(setup))["sid"]
        assert (await queue_of(setup))["current_size"] == 0

    async def test_the_waiting_document_hangs_up(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/music"] = "<Response><Pause/><Hangup/></Response>"
        sid = await enqueued(setup, waitUrl=f"{setup.listener.url}/music")
        await setup.advance(1)
        assert result(setup).form["QueueResult"] == "hangup"
        assert (await setup.fetch(sid))["status"] == "completed"

    async def test_a_redirect_outranks_the_action(self, setup: SimulatorSetup) -> None:
        sid = await enqueued(setup)
        await setup.update(sid, Url=f"{setup.listener.url}/elsewhere")
        await setup.advance(1)
        form = result(setup).form
        assert (form["QueueResult"], form["CallStatus"]) == ("redirected", "in-progress")
        assert len(setup.listener.at("/elsewhere")) == 1
        await setup.check_goes_on(sid)

    async def test_a_full_queue_takes_nobody(self, setup: SimulatorSetup) -> None:
        await setup.request("POST", f"{setup.account}/Queues.json", {"FriendlyName": "support", "MaxSize": "1"})
        await enqueued(setup)
        sid = await enqueued(setup)
        form = result(setup).form
        assert (form["CallSid"], form["QueueResult"]) == (sid, "queue-full")
        assert not {"QueueSid", "QueueTime"} & set(form)

    @pytest.mark.parametrize(
        ("name", "url", "code"),
        [("", "", "14204"), ("x" * 65, "", "14205"), ("support", "mailto:x", "14202"), ("support", "/music", "14202")],
    )
    async def test_an_error_of_the_verb(self, setup: SimulatorSetup, name: str, url: str, code: str) -> None:
        sid = await enqueued(setup, name, waitUrl=url)
        assert result(setup).form["QueueResult"] == "error"
        assert await setup.notes(sid) == [(code, "0")]
        _, body = await setup.request("GET", f"{setup.account}/Queues.json")
        assert body["queues"] == []

    async def test_an_error_of_what_is_heard(self, setup: SimulatorSetup) -> None:
        sid = await enqueued(setup, waitUrl=f"{setup.listener.url}/nowhere")
        form = result(setup).form
        assert (form["QueueResult"], form["QueueSid"]) == ("error", (await queue_of(setup))["sid"])
        assert await setup.notes(sid) == [("11200", "0")]
        await setup.check_goes_on(sid)

    async def test_what_belongs_to_taskrouter_is_said(self, setup: SimulatorSetup) -> None:
        sid = await enqueued(setup, "<Task>{}</Task>", workflowSid="WW" + "0" * 32)
        assert await setup.notes(sid) == [("12200", "1"), ("12200", "1"), ("14204", "0")]

    async def test_leave_elsewhere_does_nothing(self, setup: SimulatorSetup) -> None:
        call = await setup.place(Twiml=f"<Response><Leave/>{STAY}</Response>")
        await setup.advance(5)
        assert await setup.notes(call["sid"]) == [("12200", "1")]
        await setup.check_goes_on(call["sid"])


class TestTaking:
    async def test_the_first_who_waits_and_what_each_is_told_after_the_talk(self, setup: SimulatorSetup) -> None:
        first = await enqueued(setup)
        second = await enqueued(setup)
        taker = await agent(setup, then=STAY)
        assert (await queue_of(setup))["current_size"] == 1
        assert not setup.listener.at("/result")  # once, when they part
        assert await setup.calls(ParentCallSid=taker) == []
        await setup.advance(10)
        await setup.by_hand(first, "hangup")
        await setup.advance(1)
        form = result(setup).form
        assert (form["CallSid"], form["QueueResult"], form["QueueTime"]) == (first, "bridged", "6")
        assert form["CallStatus"] == "completed"
        assert talked(setup) == {"DialCallStatus": "completed", "DialBridged": "true", "DialCallDuration": "11"}
        assert (await setup.fetch(second))["status"] == "in-progress"
        await setup.check_goes_on(taker)

    async def test_the_agent_hangs_up(self, setup: SimulatorSetup) -> None:
        sid = await enqueued(setup)
        await agent(setup, to=HANGS_UP)
        await setup.advance(6)
        form = result(setup).form
        assert (form["QueueResult"], form["CallStatus"]) == ("bridged", "in-progress")
        (asked,) = setup.listener.at("/talked")
        assert (asked.form["CallStatus"], asked.form["DialCallStatus"]) == ("completed", "completed")
        await setup.check_goes_on(sid)

    async def test_without_an_action_both_go_on_behind_it(self, setup: SimulatorSetup) -> None:
        sid = await enqueued(setup, action="", then=STAY)
        taker = await agent(setup, dial={"action": "", "timeLimit": "5"}, then=STAY)
        await setup.advance(60)
        assert {(await setup.fetch(each))["status"] for each in (sid, taker)} == {"in-progress"}
        await setup.advance(10)
        assert {(await setup.fetch(each))["status"] for each in (sid, taker)} == {"completed"}

    async def test_a_star_ends_the_talk(self, setup: SimulatorSetup) -> None:
        await enqueued(setup)
        starred = await agent(setup, dial={"hangupOnStar": "true"})
        await setup.by_hand(starred, "press", digits="*")
        await setup.advance(1)
        assert result(setup).form["QueueResult"] == "bridged"
        assert talked(setup)["DialCallStatus"] == "completed"
        await setup.by_hand(starred, "press", digits="*")
        await setup.check_goes_on(starred)

    async def test_the_other_one_hears_a_document_before(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/whisper"] = "<Response><Pause length='4'/><Hangup/></Response>"
        sid = await enqueued(setup, waitUrl=f"{setup.listener.url}/music")
        taker = await agent(setup, url=f"{setup.listener.url}/whisper", method="GET")
        (asked,) = setup.listener.at("/whisper")
        heard = len(setup.listener.at("/music"))
        assert (asked.method, asked.form["CallSid"], asked.form["DequeingCallSid"]) == ("GET", sid, taker)
        assert {name: value for name, value in asked.form.items() if "Queue" in name} == {
            "QueueSid": (await queue_of(setup))["sid"],
            "QueueTime": "3",
        }
        await setup.advance(10)
        await setup.by_hand(taker, "hangup")
        await setup.advance(1)
        assert result(setup).form["QueueResult"] == "bridged"
        assert talked(setup)["DialCallDuration"] == "7"  # counted from when they were connected
        assert len(setup.listener.at("/music")) == heard
        assert await setup.notes(sid) == [("12200", "1")]

    @pytest.mark.parametrize(
        ("who", "how", "asks_both"),
        [
            ("caller", "hangup", True),
            ("caller", "redirect", True),
            ("agent", "hangup", True),
            ("agent", "redirect", False),
        ],
    )
    async def test_one_goes_before_they_are_connected(
        self, setup: SimulatorSetup, who: str, how: str, *, asks_both: bool
    ) -> None:
        setup.listener.documents["/whisper"] = "<Response><Pause length='40'/></Response>"
        sid = await enqueued(setup)
        taker = await agent(setup, url=f"{setup.listener.url}/whisper")
        goes = sid if who == "caller" else taker
        if how == "hangup":
            await setup.by_hand(goes, "hangup")
        else:
            await setup.update(goes, Url=f"{setup.listener.url}/elsewhere")
        await setup.advance(1)
        assert result(setup).form["QueueResult"] == "bridging-in-process"
        if asks_both:
            assert talked(setup) == {"DialCallStatus": "no-answer", "DialBridged": "false"}
        else:
            assert not setup.listener.at("/talked")
        await setup.check_goes_on(taker if goes == sid else sid)

    async def test_the_caller_is_redirected_out_of_the_talk(self, setup: SimulatorSetup) -> None:
        sid = await enqueued(setup)
        taker = await agent(setup)
        await setup.update(sid, Url=f"{setup.listener.url}/elsewhere")
        await setup.advance(1)
        assert result(setup).form["QueueResult"] == "redirected-from-bridged"
        assert talked(setup) == {"DialCallStatus": "completed", "DialBridged": "true"}
        assert len(setup.listener.at("/elsewhere")) == 1
        await setup.check_goes_on(taker)

    async def test_the_agent_is_redirected_out_of_the_talk(self, setup: SimulatorSetup) -> None:
        sid = await enqueued(setup)
        taker = await agent(setup)
        await setup.update(taker, Url=f"{setup.listener.url}/elsewhere")
        await setup.advance(1)
        assert result(setup).form["QueueResult"] == "bridged"
        assert not setup.listener.at("/talked")
        assert {(await setup.fetch(each))["status"] for each in (sid, taker)} == {"in-progress"}

    async def test_agents_wait_for_callers_in_their_order(self, setup: SimulatorSetup) -> None:
        await setup.request("POST", f"{setup.account}/Queues.json", {"FriendlyName": "support"})
        first = await agent(setup)
        second = await agent(setup)
        sid = await enqueued(setup, waitUrl=f"{setup.listener.url}/music")
        assert not setup.listener.at("/music")
        await setup.by_hand(sid, "hangup")
        await setup.advance(40)
        calls = [(asked.form["CallSid"], asked.form["DialCallStatus"]) for asked in setup.listener.at("/talked")]
        assert calls == [(first, "completed"), (second, "no-answer")]  # the other one waits for 30 s

    async def test_an_agent_who_has_gone_takes_nobody(self, setup: SimulatorSetup) -> None:
        await setup.request("POST", f"{setup.account}/Queues.json", {"FriendlyName": "support"})
        gone = await agent(setup, dial={"timeout": "600"})
        redirected = await agent(setup, dial={"timeout": "600"})
        await setup.by_hand(gone, "hangup")
        await setup.update(redirected, Url=f"{setup.listener.url}/elsewhere")
        await setup.advance(1)
        await enqueued(setup)
        assert (await queue_of(setup))["current_size"] == 1
        (asked,) = setup.listener.at("/talked")
        assert (asked.form["CallSid"], asked.form["DialCallStatus"]) == (gone, "no-answer")

    @pytest.mark.parametrize(("name", "code"), [("support", "12200"), ("", "14212"), ("x" * 65, "14213")])
    async def test_a_queue_that_is_not_there(self, setup: SimulatorSetup, name: str, code: str) -> None:
        taker = await agent(setup, of=name)
        assert talked(setup) == {"DialCallStatus": "failed", "DialBridged": "false"}
        assert [each for each, _ in await setup.notes(taker)] == [code]
        await setup.check_goes_on(taker)

    async def test_a_queue_that_is_deleted_while_one_waits_for_callers(self, setup: SimulatorSetup) -> None:
        _, queue = await setup.request("POST", f"{setup.account}/Queues.json", {"FriendlyName": "support"})
        taker = await agent(setup)
        status, _ = await setup.request("DELETE", f"{setup.account}/Queues/{queue['sid']}.json")
        assert status == 204
        await setup.advance(1)
        assert talked(setup)["DialCallStatus"] == "failed"
        await setup.check_goes_on(taker)

    @pytest.mark.parametrize(("has_host", "codes"), [(True, (["11200"], [])), (False, ([], ["14211"]))])
    async def test_a_document_that_cant_be_had_connects_all_the_same(
        self, setup: SimulatorSetup, codes: tuple[list[str], list[str]], *, has_host: bool
    ) -> None:
        sid = await enqueued(setup)
        url = f"{setup.listener.url}/nowhere" if has_host else "/nowhere"
        taker = await agent(setup, url=url, dial={"timeLimit": "5"})
        await setup.advance(10)
        assert talked(setup)["DialBridged"] == "true"
        assert [[code for code, _ in await setup.notes(each)] for each in (sid, taker)] == list(codes)

    async def test_what_belongs_to_taskrouter_is_said(self, setup: SimulatorSetup) -> None:
        await enqueued(setup)
        taker = await agent(setup, reservationSid="WR" + "0" * 32, postWorkActivitySid="WA" + "0" * 32)
        assert await setup.notes(taker) == [("12200", "1"), ("12200", "1")]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_each_is_told_once(setup: SimulatorSetup, seed: int) -> None:
    choose, url = Random(seed), setup.listener.url
    heard = [MUSIC] * 8 + ["<Response><Leave/></Response>", "<Response><Hangup/></Response>", "<Response>"]
    setup.listener.documents |= {
        "/music": lambda _: choose.choice(heard),
        "/whisper": "<Response><Pause length='2'/></Response>",
    }
    callers: list[str] = []
    agents: list[str] = []
    for _ in range(40):
        match choose.choice(["caller", "caller", "agent", "hangup", "redirect", "front", "time"]):
            case "caller":
                music = choose.choice(["", f"{url}/music"])
                callers.append(await enqueued(setup, choose.choice("ab"), waitUrl=music))
            case "agent":
                dial = {"timeout": "8", "timeLimit": choose.choice(["4", "40"])}
                whisper = choose.choice(["", f"{url}/whisper"])
                agents.append(await agent(setup, of=choose.choice("ab"), dial=dial, url=whisper))
            case "time":
                await setup.advance(choose.choice([0.1, 1, 5]))
            case "front":
                queues = f"{setup.account}/Queues"
                for queue in (await setup.request("GET", f"{queues}.json"))[1]["queues"]:
                    front = f"{queues}/{queue['sid']}/Members/Front.json"
                    status, _ = await setup.request("POST", front, {"Url": f"{url}/elsewhere"})
                    assert status == (200 if queue["current_size"] else 404)
            case how if callers + agents:
                sid = choose.choice(callers + agents)
                if how == "hangup":
                    await setup.by_hand(sid, "hangup")
                else:
                    await setup.update(sid, Url=f"{url}/elsewhere")
    await setup.advance(60)
    for sid in callers + agents:
        await setup.by_hand(sid, "hangup")
    await setup.advance(1)
    assert Counter(asked.form["CallSid"] for asked in setup.listener.at("/result")) == Counter(callers)
    assert set(Counter(asked.form["CallSid"] for asked in setup.listener.at("/talked")).values()) <= {1}
    _, body = await setup.request("GET", f"{setup.account}/Queues.json")
    assert {queue["current_size"] for queue in body["queues"]} == {0}


async def test_a_caller_may_wait_again(setup: SimulatorSetup) -> None:
    setup.listener.documents["/result"] = "<Response><Enqueue>other</Enqueue></Response>"
    sid = await enqueued(setup)
    await agent(setup, dial={"timeLimit": "5"})
    await setup.advance(10)
    taker = await agent(setup, of="other")
    await setup.update(sid, Status="completed")
    await setup.advance(1)
    assert [asked.form["CallSid"] for asked in setup.listener.at("/talked")][-1] == taker


async def test_queues_that_calls_made_give_way() -> None:
    async with simulator_setup(keep_finished=3) as setup:
        await setup.request("POST", f"{setup.account}/Queues.json", {"FriendlyName": "mine"})
        await enqueued(setup, "busy")
        for name in ("a", "b", "c"):
            await setup.update(await enqueued(setup, name), Status="completed")
            await setup.advance(1)
        _, body = await setup.request("GET", f"{setup.account}/Queues.json")
        assert [queue["friendly_name"] for queue in body["queues"]] == ["c", "busy", "mine"]
