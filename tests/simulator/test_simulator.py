"""`Simulator` as a library: in a thread for the synchronous SDK, in an event loop, with a clock driven by hand."""

import ast
import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from simulator.setup import ANSWERS, BUSY, FROM, HANGS_UP, NEVER, SimulatorSetup, simulator_setup
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

import callctl.simulator
from callctl.simulator import FarEnd, Faults, Simulator, SimulatorError


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(manual_clock=True) as simulator:
        yield simulator


@pytest.fixture
def client(sim: Simulator) -> Client:
    return of(sim)


def of(sim: Simulator, *, key: bool = False) -> Client:
    """Twilio's own client, unchanged but for its base address."""
    client = Client(sim.api_key, sim.api_secret, sim.account_sid) if key else Client(sim.account_sid, sim.auth_token)
    client.api.base_url = sim.url
    return client


class TestSdk:
    @pytest.mark.parametrize("key", [False, True])
    def test_places_fetches_updates_and_deletes(self, sim: Simulator, *, key: bool) -> None:
        client = of(sim, key=key)
        call = client.calls.create(to=ANSWERS, from_=FROM, twiml="<Response><Pause length='60'/></Response>")
        assert (call.status, call.direction, call.to) == ("queued", "outbound-api", ANSWERS)
        sim.advance(5)
        fetched = client.calls(call.sid).fetch()
        assert (fetched.status, fetched.duration) == ("in-progress", None)
        assert fetched.start_time is not None and fetched.start_time.utcoffset() is not None
        assert client.calls(call.sid).update(twiml="<Response><Pause/></Response>").status == "in-progress"
        assert client.calls(call.sid).update(status="completed").status == "completed"
        with pytest.raises(TwilioRestException) as refused:
            client.calls(call.sid).update(status="completed")
        assert (refused.value.code, refused.value.status) == (21220, 400)
        assert client.calls(call.sid).delete()
        with pytest.raises(TwilioRestException) as gone:
            client.calls(call.sid).fetch()
        assert (gone.value.code, gone.value.status) == (20404, 404)

    def test_lists_over_several_pages(self, sim: Simulator, client: Client) -> None:
        made = [client.calls.create(to=BUSY, from_=FROM, twiml="<Response/>").sid for _ in range(23)]
        sim.advance(5)
        listed = [call.sid for call in client.calls.list(page_size=5, status="busy")]
        assert listed == made[::-1]
        assert len(client.calls.list(limit=7)) == 7
        assert client.calls.list(limit=5000, parent_call_sid="CA" + "0" * 32) == []

    def test_lists_by_time(self) -> None:
        now = [datetime(2026, 1, 5, 12, tzinfo=UTC)]
        with Simulator(manual_clock=True, wall=lambda: now[0]) as sim:
            client, made = of(sim), []
            for _ in range(3):
                made.append(
                    client.calls.create(to=HANGS_UP, from_=FROM, twiml="<Response><Pause length='9'/></Response>").sid
                )
                sim.advance(20)
                now[0] += timedelta(days=1)
            day = datetime(2026, 1, 6, 12, tzinfo=UTC)

            def listed(**filters: object) -> list[int]:
                return sorted(made.index(call.sid) for call in client.calls.list(**filters))

            assert listed(start_time=day) == [1]
            assert listed(start_time_before=day) == [0]
            assert listed(start_time_after=day) == [1, 2]
            assert listed(end_time=day, status="completed") == [1]
            assert listed(end_time_before=day) == [0]
            assert listed(end_time_after=day, start_time_before=day + timedelta(hours=1), page_size=1) == [1]

    def test_repeats_status_callback_event_as_twilio_wants_it(self, sim: Simulator, client: Client) -> None:
        client.calls.create(
            to=BUSY,
            from_=FROM,
            twiml="<Response/>",
            status_callback="http://127.0.0.1:9/",
            status_callback_event=["initiated", "completed"],
        )
        assert sim.requests[-1].form["StatusCallbackEvent"] == ("initiated", "completed")
        sim.advance(5)
        assert [callback.event for callback in sim.callbacks] == ["initiated", "completed"]

    def test_reads_notifications_and_the_account(self, sim: Simulator, client: Client) -> None:
        call = client.calls.create(to=ANSWERS, from_=FROM, url="http://127.0.0.1:9/")
        sim.advance(5)
        (note,) = client.calls(call.sid).notifications.list()
        assert (note.error_code, note.request_method) == ("11200", "POST")
        assert client.api.v2010.accounts(sim.account_sid).fetch().status == "active"

    def test_is_refused_with_wrong_credentials(self, sim: Simulator) -> None:
        client = Client(sim.account_sid, "wrong")
        client.api.base_url = sim.url
        with pytest.raises(TwilioException, match="Unable to fetch page"):
            client.calls.list()
        with pytest.raises(TwilioRestException) as refused:
            client.calls.create(to=ANSWERS, from_=FROM, twiml="<Response/>")
        assert (refused.value.code, refused.value.status) == (20003, 401)


class TestThread:
    def test_it_is_ready_when_entered_and_gone_when_left(self) -> None:
        with Simulator() as sim:
            port = int(sim.url.rpartition(":")[2])
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            assert "callctl-simulator" in {thread.name for thread in threading.enumerate()}
        assert "callctl-simulator" not in {thread.name for thread in threading.enumerate()}
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=5)

    def test_a_port_that_is_taken(self) -> None:
        with Simulator() as first, pytest.raises(SimulatorError, match="can't listen on"):
            Simulator(port=int(first.url.rpartition(":")[2])).__enter__()

    def test_two_run_side_by_side(self) -> None:
        with Simulator() as one, Simulator() as other:
            of(one).calls.create(to=BUSY, from_=FROM, twiml="<Response/>")
            assert (len(of(one).calls.list()), len(of(other).calls.list())) == (1, 0)

    def test_it_can_be_left_with_calls_and_requests_under_way(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute, Simulator(speed=50) as sim:
            url = f"http://127.0.0.1:{mute.getsockname()[1]}/"  # takes connections and never answers
            of(sim).calls.create(to=ANSWERS, from_=FROM, url=url, status_callback=url)
        assert len(sim.requests) == 1

    def test_records_stay_readable(self, sim: Simulator, client: Client) -> None:
        client.calls.create(to=BUSY, from_=FROM, twiml="<Response/>", status_callback="http://127.0.0.1:9/")
        sim.advance(5)
        sim.__exit__(None, None, None)
        assert (len(sim.requests), len(sim.callbacks)) == (1, 1)
        assert (sim.requests[0].method, sim.requests[0].status) == ("POST", 201)

    def test_before_it_runs_there_is_no_address(self) -> None:
        with pytest.raises(SimulatorError, match="not running"):
            _ = Simulator().url

    def test_advance_needs_the_clock_by_hand(self) -> None:
        with Simulator() as sim, pytest.raises(SimulatorError, match="manual_clock"):
            sim.advance(1)

    def test_by_itself_time_runs_at_the_speed_asked_for(self) -> None:
        with Simulator(speed=100) as sim:
            call = of(sim).calls.create(to=HANGS_UP, from_=FROM, twiml="<Response><Pause length='60'/></Response>")
            for _ in range(200):
                fetched = call.fetch()
                if fetched.status == "completed":
                    break
                threading.Event().wait(0.02)
            # Durations are simulated seconds; a slow machine makes them longer, never shorter.
            assert fetched.status == "completed"
            assert int(fetched.duration or 0) >= 5


class TestEventLoop:
    async def test_async_with(self) -> None:
        async with Simulator(manual_clock=True) as sim:
            assert sim.url.startswith("http://127.0.0.1:")
            await sim.advance_async(10)
            assert sim.simulated_seconds() == 10
            with pytest.raises(SimulatorError, match="advance_async"):
                sim.advance(1)

    async def test_advance_returns_when_everything_due_was_answered(self, setup: SimulatorSetup) -> None:
        answered: list[str] = []

        def slow(form: dict[str, str]) -> str:
            answered.append(form["CallSid"])
            return "<Response><Redirect/></Response>"

        setup.listener.documents["/doc"] = slow
        await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc", TimeLimit=1)
        await setup.advance(100)
        assert 9 <= len(answered) <= 10
        assert all(callback.replies for callback in setup.sim.callbacks)
        assert len(setup.listener.at("/status")) == 4

    async def test_time_stands_still_until_it_is_advanced(self, setup: SimulatorSetup) -> None:
        call = await setup.place()
        await asyncio.sleep(0.3)
        assert (await setup.fetch(call["sid"]))["status"] == "queued"


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [{"readings": ["no-such"]}, {"dialect": "other"}, {"speed": 0}, {"speed": float("nan")}, {"keep_finished": -1}]
        + [{"cps": float("nan")}, {"lag": float("inf")}]
        + [{"port": -1}, {"port": 65536}, {"port": "8766"}, {"proxy": True, "proxy_port": 70000}]
        + [{"far_end": "far.toml"}, {"far_end": {"+12025550150": {"outcome": "busy"}}}]
        + [{"base_path": path} for path in ("api", "/api/", "/", "/a{b", "/a b")],
    )
    def test_what_makes_no_sense(self, options: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"known are|must"):
            Simulator(**options)  # type: ignore[arg-type]

    @pytest.mark.parametrize("far_end", [FarEnd("bussy"), FarEnd(after=-1.0), FarEnd(answered_by="cat")])
    def test_a_far_end_that_makes_no_sense(self, far_end: FarEnd) -> None:
        with pytest.raises(ValueError, match=r'^\["\+12025550150"\] \w+ = .*: expected'):
            Simulator(far_end={"+12025550150": far_end})

    @pytest.mark.parametrize("options", [{"proxy_port": 8767}, {"allow_hosts": ["example.com"]}])
    def test_what_goes_with_a_proxy(self, options: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=f"^{next(iter(options))} goes with proxy=True$"):
            Simulator(**options)  # type: ignore[arg-type]

    def test_an_option_that_there_is_not(self) -> None:
        with pytest.raises(TypeError, match=r"^a Simulator has no option 'speeed', but host, .*seed_file, .*speed, "):
            Simulator(speeed=5)

    async def test_credentials_and_far_ends_of_ones_own(self) -> None:
        options = {"account_sid": "AC" + "1" * 32, "auth_token": "other", "far_end": {"+12025550150": FarEnd("busy")}}
        async with simulator_setup(**options) as setup:
            call = await setup.place("+12025550150")
            await setup.advance(5)
            assert (await setup.fetch(call["sid"]))["status"] == "busy"
            assert setup.sim.callbacks[0].params["AccountSid"] == "AC" + "1" * 32

    async def test_finished_calls_beyond_the_limit_are_dropped_oldest_first(self) -> None:
        async with simulator_setup(keep_finished=3) as setup:
            live = await setup.place(NEVER, Timeout=600)
            made = [(await setup.place(BUSY))["sid"] for _ in range(6)]
            await setup.advance(5)
            assert [call["sid"] for call in await setup.calls()] == [*made[:2:-1], live["sid"]]
            status, _ = await setup.request("GET", f"{setup.account}/Calls/{made[0]}.json")
            assert status == 404

    async def test_deleted_calls_take_no_place_among_those_that_are_kept(self) -> None:
        async with simulator_setup(keep_finished=2) as setup:
            made = []
            for _ in range(3):
                made.append((await setup.place(BUSY))["sid"])
                await setup.advance(5)
                if len(made) == 2:
                    await setup.request("DELETE", f"{setup.account}/Calls/{made[1]}.json")
            assert [call["sid"] for call in await setup.calls()] == [made[2], made[0]]

    async def test_records_are_bounded_too(self) -> None:
        async with simulator_setup(keep_records=5) as setup:
            for _ in range(6):
                await setup.place(BUSY)
            await setup.advance(5)
            assert (len(setup.sim.callbacks), len(setup.sim.requests)) == (5, 5)

    async def test_latency_delays_the_answer_and_not_the_call(self) -> None:
        async with simulator_setup(latency=0.2) as setup:
            loop = asyncio.get_running_loop()
            began = loop.time()
            await setup.place()
            assert loop.time() - began >= 0.2  # at the least; how much longer is the machine's affair

    def test_faults_are_none_by_default(self) -> None:
        assert Simulator().settings.faults == Faults()


def test_the_simulator_imports_support_alone_of_callctl() -> None:
    folder = Path(callctl.simulator.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if isinstance(node, ast.ImportFrom) and [each.name for each in node.names] == ["__version__"]:
                    continue
                root = name.split(".")[0]
                assert name.startswith(("callctl.simulator", "callctl.support")) or root != "callctl", (
                    f"{path.name} imports {name}"
                )
                heavy = {"twilio", "requests", "typer", "rich"} - ({"twilio"} if path.name == "simulator.py" else set())
                assert root not in heavy, f"{path.name} imports {name}"


def test_importing_it_loads_no_sdk() -> None:
    code = "import sys, callctl.simulator; print([n for n in ('twilio','typer','rich','requests') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
