"""How a watch is reached: by which address, and what it says when a self-test does not come back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from paths import TESTS
from watches import Application, Sent, Suspension, running_watch, settings_in, tunnel_program
from web_site import free_port

from callctl.calls.watch_trouble import Trouble
from callctl.errors import CallctlError, UsageError
from callctl.settings import Settings
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.watch.options import WatchOptions
from callctl.watch.reachability import TEST_INTERVAL
from callctl.watch.registry import registry
from callctl.watch.registry.health import ask_health
from callctl.watch.selftest import SelftestResult, selftest
from callctl.watch.session import Session

RELAY = TESTS / "relay.py"


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try addresses at once, and once more soon."""
    monkeypatch.setattr("callctl.watch.tunnel.command.SETTLE", 0.01)
    monkeypatch.setattr("callctl.watch.tunnel.command.ROUND_INTERVAL", 0.01)
    monkeypatch.setattr("callctl.watch.reachability.AGENT_INTERVAL", 0.01)


def records_in(settings: Settings) -> list[Path]:
    return list(settings.state_dir.glob("watch/*.json"))


def relay(folder: Path, first: str = "", late: str = "") -> str:
    """Return a tunnel that says something and is then one; ``late`` is what it does only once there is a file."""
    return tunnel_program(
        folder,
        f"print({first!r}); import runpy; sys.argv[2:] = {late.split()!r}\n"
        f"runpy.run_path({str(RELAY)!r}, run_name='__main__')",
    )


def pass_on_to(application: Application, port: int) -> None:
    """Have an application be a tunnel to a port."""

    async def answer(sent: Sent) -> str:
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                sent.method, f"http://127.0.0.1:{port}{sent.target}", data=sent.body, headers=sent.headers
            ) as reply,
        ):
            return await reply.text()

    application.answer = answer


def agent_of(*urls: str, port: int) -> str:
    tunnels = [{"public_url": url, "config": {"addr": f"localhost:{port}"}} for url in urls]
    return json.dumps({"tunnels": tunnels})


async def test_a_watch_finds_the_agent_whose_address_leads_to_it(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A public name that this machine resolves to itself: it leads to the port, as ngrok's does.
    monkeypatch.setattr("callctl.watch.reachability.is_loopback_url", lambda _url: False)
    settings, port = settings_in(tmp_path, api_url="https://api.example.com"), free_port()
    other = Application()
    await other.start()
    relay = await asyncio.create_subprocess_exec(sys.executable, RELAY, str(port), stdout=asyncio.subprocess.PIPE)
    try:
        assert relay.stdout is not None
        address = (await relay.stdout.readline()).decode().strip()
        application.text = agent_of(other.url, address, port=port)
        async with running_watch(settings, WatchOptions("127.0.0.1", port, agent=application.url)) as watch:
            assert watch.ready.callback_url == f"{address}/status"
            assert watch.ready.is_reachable
        assert [(sent.method, sent.body) for sent in other.sent] == [("GET", b"")]
        options = WatchOptions("127.0.0.1", port, agent=application.url, unverified=True)
        with pytest.raises(UsageError, match="ngrok agent leads from"):
            async with running_watch(settings, options):
                pass
    finally:
        relay.kill()
        await relay.wait()
        await other.stop()


async def test_an_agent_whose_address_leads_elsewhere_is_not_used(tmp_path: Path, application: Application) -> None:
    settings, port = settings_in(tmp_path, api_url="https://api.example.com"), free_port()
    application.text = agent_of("https://elsewhere.invalid", port=port)
    async with running_watch(settings, WatchOptions("127.0.0.1", port, agent=application.url)) as watch:
        assert watch.ready.callback_url == f"http://127.0.0.1:{port}/status"
        assert not watch.ready.is_reachable
        note = await watch.view.until_noted("ngrok agent")
        assert "no self-test comes back through its address, which is not used: https://elsewhere.invalid: " in note
        assert watch.session.header().unreachable == "Twilio can't reach a loopback address"


async def test_an_agent_that_may_be_another_users_is_not_used(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listening(_port: int) -> set[int]:
        return {65534}

    monkeypatch.setattr("callctl.watch.tunnel.ngrok.listening_users", listening)
    settings, port = settings_in(tmp_path, api_url="https://api.example.com"), free_port()
    application.text = agent_of("https://elsewhere.invalid", port=port)
    async with running_watch(settings, WatchOptions("127.0.0.1", port, agent=application.url)) as watch:
        assert not watch.ready.is_reachable
        note = await watch.view.until_noted("not known to be yours")
        assert "https://elsewhere.invalid" in note
        assert "--public-url" in note
    options = WatchOptions("127.0.0.1", port, agent=application.url, unverified=True)
    with pytest.raises(UsageError, match=r"ngrok agent leads from https://elsewhere\.invalid to this port"):
        async with running_watch(settings, options):
            pass


LOCAL = "http://127.0.0.1:9"


async def test_a_dashboards_address_is_passed_over_and_sent_nothing_that_is_signed(
    tmp_path: Path, application: Application
) -> None:
    first = f"Manage it at {application.url} or {application.url}/keys?add=abc"
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, tunnel=relay(tmp_path, first))) as watch:
        assert watch.ready.callback_url.endswith("/status")
        assert watch.ready.callback_url not in (
            f"{application.url}/status",
            f"http://127.0.0.1:{watch.ready.port}/status",
        )
        record = json.loads(records_in(settings)[0].read_text())
        assert record["callback_url"] == watch.ready.callback_url
        await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
        assert {(sent.method, sent.target.partition("?")[0], sent.body) for sent in application.sent} == {
            ("GET", "/status", b"")
        }
        names = {name.lower() for sent in application.sent for name, _ in sent.headers}
        assert names == {"host", "accept", "accept-encoding", "user-agent"}


async def test_a_page_that_shows_the_health_of_the_watch_is_passed_over_and_sent_nothing_that_is_signed(
    tmp_path: Path, application: Application
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/healthz"

    async def health(_sent: Sent) -> str:
        return await run_in_thread(lambda: urllib.request.urlopen(url).read().decode())

    application.answer = health
    options = WatchOptions("127.0.0.1", port, tunnel=relay(tmp_path, f"See {application.url}"))
    async with running_watch(settings_in(tmp_path), options) as watch:
        assert not watch.ready.callback_url.startswith(application.url)
        assert {sent.method for sent in application.sent} == {"GET"}


async def test_an_address_through_which_no_signed_self_test_comes_back_is_passed_over(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def passes_questions(_url: str, **_kept: object) -> None:
        """Say that the listener answers there: a proxy may pass on questions, and no forms."""

    monkeypatch.setattr("callctl.watch.reachability.why_not_ours", passes_questions)
    first = f"Forwarding from {application.url}"
    async with running_watch(
        settings_in(tmp_path), WatchOptions("127.0.0.1", 0, tunnel=relay(tmp_path, first))
    ) as watch:
        assert not watch.ready.callback_url.startswith(application.url)
        assert {sent.method for sent in application.sent} == {"POST"}


@pytest.mark.parametrize("late", ["print-after", "listen-after"])
async def test_an_address_that_works_or_is_printed_only_after_a_while_is_tried_again(
    tmp_path: Path, application: Application, late: str
) -> None:
    now = tmp_path / "now"
    settings = settings_in(tmp_path)
    options = WatchOptions("127.0.0.1", 0, tunnel=relay(tmp_path, application.url, f"{late} {now}"))
    session = Session(settings, options, clock=Clock(wall=lambda: datetime.now(UTC)))
    starting = asyncio.create_task(session.start_up())
    await application.requests(3)  # the dashboard was tried repeatedly
    assert not starting.done()
    assert await asyncio.to_thread(registry.find, settings) is None  # nothing for `place`
    assert records_in(settings) == []
    now.touch()
    try:
        assert (await starting).callback_url != f"{application.url}/status"
        assert len(records_in(settings)) == 1
    finally:
        await session.shut_down()


async def test_without_an_address_that_leads_here_there_is_no_watch(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.tunnel.command.ANSWER_LIMIT", 1)
    options = WatchOptions(
        "127.0.0.1", 0, tunnel=tunnel_program(tmp_path, f"print('{application.url} {LOCAL}'); time.sleep(600)")
    )
    settings = settings_in(tmp_path)
    with pytest.raises(CallctlError, match="printed no address that leads here within 1 s") as caught:
        async with running_watch(settings, options):
            pass
    assert f"{application.url}: something else answers there (HTTP 200)" in str(caught.value)
    assert f"{LOCAL}: can't connect: Connection refused" in str(caught.value)
    assert "--public-url" in str(caught.value.hint)
    assert records_in(settings) == []


async def test_a_tunnel_that_ends_before_its_address_works_is_an_error(tmp_path: Path) -> None:
    options = WatchOptions("127.0.0.1", 0, tunnel=tunnel_program(tmp_path, f"print('{LOCAL}'); sys.exit(3)"))
    with pytest.raises(CallctlError, match=rf"ended with code 3: {LOCAL}: can't connect"):
        async with running_watch(settings_in(tmp_path), options):
            pass


async def test_an_address_on_loopback_is_none_that_twilio_can_reach(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, api_url="https://api.example.com")
    options = WatchOptions("127.0.0.1", 0, tunnel=tunnel_program(tmp_path, f"print('{LOCAL}')"))
    with pytest.raises(CallctlError, match="Twilio can't reach a loopback address"):
        async with running_watch(settings, options):
            pass


async def test_the_watch_reports_when_its_tunnel_dies(tmp_path: Path) -> None:
    now = tmp_path / "now"
    options = WatchOptions("127.0.0.1", 0, tunnel=relay(tmp_path, late=f"end-after {now}"))
    async with running_watch(settings_in(tmp_path), options) as watch:
        now.touch()
        note = await watch.view.until_noted("has ended")
        assert "code 7: giving up" in note
        assert watch.view.header is not None
        assert watch.view.header.unreachable == "the tunnel has ended (code 7)"
        health = await run_in_thread(lambda: ask_health(watch.ready.health_url))
        assert health is not None
        assert health["reachable"] is False  # by which `place` knows, before the next self-test


async def test_the_watch_goes_with_its_tunnel_to_another_address(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    now, settings = tmp_path / "now", settings_in(tmp_path)
    command = relay(tmp_path, f"Manage it at {application.url}", f"move-after {now}")
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, tunnel=command)) as watch:
        before = watch.ready.callback_url
        await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
        now.touch()
        await watch.view.until(lambda view: bool(view.troubles))
        (trouble,) = watch.view.troubles
        after = watch.session.header().callback_url
        assert after not in (before, f"{application.url}/status")
        assert (trouble.cause, trouble.url) == ("tunnel-moved", after)
        assert f"another address now, {after}: calls placed before, and whatever names {before}" in trouble
        await watch.view.until(lambda view: view.header is not None and view.header.unreachable is None)
        (record,) = records_in(settings)
        assert json.loads(record.read_text())["callback_url"] == after
        health = await run_in_thread(lambda: ask_health(watch.ready.health_url))
        assert health is not None
        assert (health["callback_url"], health["reachable"]) == (after, True)


async def test_the_watch_goes_with_its_tunnel_back_to_an_address_that_it_had_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    away, settings = tmp_path / "away", settings_in(tmp_path)
    command = relay(tmp_path, late=f"elsewhere-while {away}")
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, tunnel=command)) as watch:
        first = watch.ready.callback_url
        await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
        away.touch()
        await watch.view.until(lambda view: len(view.troubles) == 1)
        assert watch.session.header().callback_url != first
        away.unlink()
        await watch.view.until(lambda view: len(view.troubles) == 2)
        assert watch.session.header().callback_url == first
        assert [one.cause for one in watch.view.troubles] == ["tunnel-moved", "tunnel-moved"]
        (record,) = records_in(settings)
        assert json.loads(record.read_text())["callback_url"] == first


@pytest.mark.parametrize(("failures", "is_left"), [(1, False), (2, False), (3, True)])
async def test_an_address_is_left_once_it_has_failed_repeatedly_and_again_right_before(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch, failures: int, is_left: bool
) -> None:
    monkeypatch.setattr("callctl.watch.reachability.TEST_INTERVAL", 0.01)
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    left, tests = 0, 0

    async def failing(url: str, **more: Any) -> SelftestResult:
        nonlocal left, tests
        tests += 1
        if left and url == watch.ready.callback_url:
            left -= 1
            return SelftestResult(failure="no answer within 10 s")
        return await selftest(url, **more)

    monkeypatch.setattr("callctl.watch.reachability.selftest", failing)
    # The application is another address of the tunnel, and leads here later.
    command = relay(tmp_path, f"Also at {application.url}")
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, tunnel=command)) as watch:
        pass_on_to(application, watch.ready.port)
        left, tests = failures, 0
        if is_left:
            await watch.view.until(lambda view: bool(view.troubles))
            assert watch.session.header().callback_url == f"{application.url}/status"
        else:
            await watch.view.until(lambda _view: tests > failures + 3)
            assert watch.session.header().callback_url == watch.ready.callback_url
            assert (left, watch.view.troubles) == (0, [])


async def test_a_url_in_the_path_of_a_request_that_the_tunnel_prints_is_never_asked(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who knows the tunnel's address asks for ``/http://HIS-HOST``, and passes on all that comes there."""
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    now, settings = tmp_path / "now", settings_in(tmp_path)
    command = relay(tmp_path, late=f"end-after {now} /{application.url}")
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, tunnel=command)) as watch:
        pass_on_to(application, watch.ready.port)
        now.touch()
        await watch.view.until_noted("callbacks would not arrive either")
        assert watch.session.header().callback_url == watch.ready.callback_url
    assert application.sent == []


async def test_a_tunnels_later_address_of_another_provider_is_said_and_not_followed(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    now, other = tmp_path / "now", application.url.replace("127.0.0.1", "localhost")
    command = relay(tmp_path, late=f"end-after {now} {other}")
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, tunnel=command)) as watch:
        pass_on_to(application, watch.ready.port)
        now.touch()
        said = await watch.view.until_noted("callbacks would not arrive either")
        assert f"the tunnel has printed {other} since, which is not followed" in said
        assert watch.session.header().callback_url == watch.ready.callback_url
    assert application.sent == []


async def test_a_watch_goes_with_an_ngrok_agent_that_is_started_again_to_its_new_address(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Public names that this machine resolves to itself.
    monkeypatch.setattr("callctl.watch.reachability.is_loopback_url", lambda _url: False)
    monkeypatch.setattr("callctl.watch.reachability.TEST_INTERVAL", 0.01)
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    settings, port = settings_in(tmp_path, api_url="https://api.example.com"), free_port()
    ways = [Application(), Application()]
    for way in ways:
        await way.start()
        pass_on_to(way, port)
    try:
        application.text = agent_of(ways[0].url, port=port)
        async with running_watch(settings, WatchOptions("127.0.0.1", port, agent=application.url)) as watch:
            assert watch.ready.callback_url == f"{ways[0].url}/status"
            application.text = agent_of(ways[1].url, port=port)
            ways[0].status, ways[0].answer = 404, None
            await watch.view.until(lambda view: "tunnel-moved" in {one.cause for one in view.troubles})
            assert watch.session.header().callback_url == f"{ways[1].url}/status"
    finally:
        for way in ways:
            await way.stop()


async def test_what_a_tunnel_prints_later_is_no_address_where_it_leads_elsewhere(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    now, settings = tmp_path / "now", settings_in(tmp_path)
    command = relay(tmp_path, late=f"end-after {now} {application.url}")
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, tunnel=command)) as watch:
        now.touch()
        requests = await application.requests(1)
        await watch.view.until_noted("has ended")
        assert watch.session.header().callback_url == watch.ready.callback_url
        assert {sent.method for sent in requests} == {"GET"}  # nothing that is signed
        assert "tunnel-moved" not in {one.cause for one in watch.view.troubles}


@pytest.mark.parametrize(
    ("logged", "most"), [("", 0), ("https://h%d.example.com/log", 0), ("http://127.0.0.1:%d1/log", 1)]
)
async def test_a_tunnel_that_prints_a_url_for_each_request_does_not_have_the_self_test_repeated_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: str, most: int
) -> None:
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 3600)
    options = WatchOptions("127.0.0.1", 0, tunnel=relay(tmp_path, late=f"log {logged}"))
    async with running_watch(settings_in(tmp_path), options) as watch:
        await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
        assert watch.session._listener is not None
        answers = watch.session._listener.counts.answers
        before = answers[200]
        async with aiohttp.ClientSession() as http:
            for number in range(50):
                headers = {"Connection": "close"}
                async with http.post(watch.ready.callback_url, data={"Number": str(number)}, headers=headers) as reply:
                    assert reply.status == 403
        assert before <= answers[200] <= before + most


async def test_no_later_address_on_loopback_is_asked_where_twilio_can_not_reach_it(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The relay's address stands for a public one.
    monkeypatch.setattr("callctl.watch.reachability.is_loopback_url", lambda url: url.startswith(application.url))
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    now, settings = tmp_path / "now", settings_in(tmp_path, api_url="https://api.example.com")
    command = relay(tmp_path, late=f"end-after {now} {application.url}")
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, tunnel=command)) as watch:
        now.touch()
        await watch.view.until_noted("has ended")
        await watch.view.until_noted("callbacks would not arrive either")  # after two tests, and a look at the address
    assert application.sent == []


async def test_a_tunnel_whose_command_ends_and_leaves_it_running_is_no_trouble_that_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    command = tunnel_program(
        tmp_path,
        "import subprocess, os; started = subprocess.Popen("
        f"[sys.executable, {str(RELAY)!r}, sys.argv[1]], start_new_session=True, stdout=subprocess.PIPE, text=True)\n"
        f"print(started.stdout.readline()); open({str(tmp_path / 'pid')!r}, 'w').write(str(started.pid)); os._exit(0)",
    )
    try:
        async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, tunnel=command)) as watch:
            await watch.view.until_noted("has ended with code 0")
            await watch.view.until_noted("arrives all the same")
            assert watch.view.resolved[-1].cause == "tunnel-ended"
            assert watch.session.header().unreachable is None
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def test_with_a_public_url_the_tunnels_output_is_not_read(tmp_path: Path) -> None:
    public = "http://127.0.0.1:9/hooks"
    options = WatchOptions(
        "127.0.0.1", 0, public_url=public, tunnel=tunnel_program(tmp_path, "print('https://other.example.com')")
    )
    async with running_watch(settings_in(tmp_path), options) as watch:
        assert watch.ready.callback_url == public
        assert "has ended with code 0" in await watch.view.until_noted("has ended")
        assert not any("other.example.com" in note for note in watch.view.notes)


async def test_an_unreachable_watch_says_so_and_says_when_it_is_reachable_again(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    application.status = 502
    options = WatchOptions("127.0.0.1", 0, public_url=f"{application.url}/status")
    async with running_watch(settings_in(tmp_path), options) as watch:
        await watch.view.until_noted("something else answers there (HTTP 502); callbacks would not arrive")
        assert watch.session.header().unreachable == "something else answers there (HTTP 502)"
        pass_on_to(application, watch.ready.port)
        application.status = 200
        await watch.view.until_noted("arrives again")
        assert watch.session.header().unreachable is None
        assert [(one.cause, one.url) for one in watch.view.resolved] == [("unreachable", options.public_url)]


async def test_a_watch_that_becomes_unreachable_later_says_so(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.reachability.TEST_INTERVAL", 0.01)
    monkeypatch.setattr("callctl.watch.reachability.RETRY_INTERVAL", 0.01)
    application.hold = asyncio.Event()  # until it knows where this watch listens
    options = WatchOptions("127.0.0.1", 0, public_url=f"{application.url}/status")
    async with running_watch(settings_in(tmp_path), options) as watch:
        pass_on_to(application, watch.ready.port)
        application.hold.set()
        await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
        assert (watch.session.header().unreachable, watch.view.troubles) == (None, [])
        application.status, application.answer = 502, None
        why = "something else answers there (HTTP 502)"
        await watch.view.until(lambda view: view.header is not None and view.header.unreachable == why)
        await watch.view.until(lambda view: bool(view.troubles))
        assert watch.view.header is not None
        assert watch.view.header.round_trip is None
        (trouble,) = watch.view.troubles
        assert isinstance(trouble, Trouble)
        assert (trouble.cause, trouble.url, trouble.status) == ("unreachable", options.public_url, 502)
        assert watch.view.troubles == [
            f"the self-test through {options.public_url} fails: {why}; callbacks would not arrive either"
        ]


async def test_the_self_test_is_repeated_at_once_when_the_machine_wakes(
    tmp_path: Path, application: Application, suspension: Suspension
) -> None:
    options = WatchOptions("127.0.0.1", 0, public_url=f"{application.url}/status")
    application.hold = asyncio.Event()  # until it knows where this watch listens
    async with running_watch(settings_in(tmp_path), options) as watch:
        pass_on_to(application, watch.ready.port)
        application.hold.set()
        await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
        assert len(application.sent) == 1
        await suspension.of(TEST_INTERVAL, done=lambda: len(application.sent) == 2)
