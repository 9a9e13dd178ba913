"""``callctl watch`` beside ``callctl listen``: a follower with all keys, that takes up the next listener."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest
from events import form
from processes import Piped
from running import Callctl, env_for
from services import Service
from switchboard import ANSWERS, LiveTerminal, switchboard
from web_site import free_port

from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.sqlite.store import SqliteStore

FOLLOW = ("watch", "--no-poll", "--json")


def test_it_follows_the_listener_at_whatever_port_and_says_so(home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Service(home=home, env=env) as service:
        assert service.port != 8765
        with Piped(*FOLLOW, home=home, env=env) as watch:
            ready = watch.record()
            assert ready["port"] == service.port
            assert ready["callback_url"] == service.ready["callback_url"]
            said = watch.until_said("what keys request")
            assert f"A listener of this account is at the port {service.port} (process {ready['follows']})." in said
            assert service.send(simulator, form(1, "ringing")) == 204
            assert watch.record()["event"] == "ringing"
            assert watch.interrupt() == 130
        assert service.send(simulator, form(1, "completed")) == 204


@pytest.mark.parametrize("options", [("--port", "0"), ("--port", "0", "--keep-days", "7"), ("--host", "localhost")])
def test_a_watch_that_is_to_listen_does(home: Path, simulator: Simulator, options: tuple[str, ...]) -> None:
    env = env_for(simulator) | {"CALLCTL_PORT": str(free_port())}
    with Service(home=home, env=env) as service, Piped(*FOLLOW, *options, home=home, env=env) as watch:
        assert service.ready
        ready = watch.record()
        assert ready["follows"] is None
        assert ready["port"] != service.port


def test_one_with_rules_listens_too_for_nobody_else_would_run_them(home: Path, simulator: Simulator) -> None:
    env = env_for(simulator) | {"CALLCTL_PORT": str(free_port())}
    with Service(home=home, env=env) as service:
        assert service.ready
        with Piped(*FOLLOW, "--max-duration", "1h", home=home, env=env) as watch:
            assert watch.record()["follows"] is None


def test_it_takes_up_a_listener_that_is_started_again_elsewhere(home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Service(home=home, env=env) as first:
        assert first.ready
        watch = Piped(*FOLLOW, home=home, env=env)
        with watch:
            assert watch.record()["follows"]
            assert first.terminate() == 0
            gone = watch.record()
            assert (gone["type"], gone["cause"]) == ("trouble", "watch-gone")
            assert "the listener (process" in gone["text"]
            with Service(home=home, env=env) as second:
                assert second.port != first.port
                again = watch.record()
                assert (again["type"], again["cause"]) == ("resolved", "watch-gone")
                assert f"listens at 127.0.0.1:{second.port}" in again["text"]
                assert second.send(simulator, form(1, "ringing")) == 204
                assert watch.record()["event"] == "ringing"


def test_one_that_is_killed_leaves_the_follower_with_the_other(home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Service(home=home, env=env) as first, Service(home=home, env=env) as second:
        assert first.ready
        assert second.ready
        with Piped(*FOLLOW, home=home, env=env) as watch:
            followed = watch.record()["port"]
            gone, left = (first, second) if followed == first.port else (second, first)
            gone.kill()
            assert f"listens at 127.0.0.1:{left.port}" in watch.record()["text"]
            assert left.send(simulator, form(1, "ringing")) == 204
            assert watch.record()["event"] == "ringing"


def test_a_table_without_calls_names_no_process_that_is_gone(home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Service(home=home, env=env) as first:
        assert first.ready
        with LiveTerminal("watch", "--no-poll", home=home, env=env) as watch:
            shown = watch.shows("No calls yet", "goes to Twilio from here.")
            (process,) = re.findall(r"following process (\d+)", shown)
            assert first.terminate() == 0
            watch.shows("the listener is gone")
            with Service(home=home, env=env) as second:
                text = watch.shows("following process", "now, which listens at", f"127.0.0.1:{second.port}")
                idle = text.partition("No calls yet")[2].partition("goes to Twilio from here.")
                assert idle[1]
                assert process not in idle[0]


def test_its_keys_hang_up_a_call_and_the_listener_finds_that_in_its_store(home: Path) -> None:
    with switchboard(home) as board, Service(home=home, env=board.env) as service:
        assert service.ready
        other = home / "other.db"
        with LiveTerminal("watch", "--no-poll", home=home, env={**board.env, "CALLCTL_STORE": str(other)}) as watch:
            watch.shows("No calls yet", f"127.0.0.1:{service.port}")
            sid = board.place(ANSWERS)
            watch.shows("1 in-progress")
            watch.selects(sid) if watch.selected else watch.moves("j")
            watch.type("x")
            watch.shows("hang up ", "y: yes")
            watch.confirm()
            watch.shows("completed ended")
            assert board.status(sid) == "completed"
        settings = load({"HOME": str(home), **board.env}, cwd=home)
        with closing(SqliteStore.open_readonly(settings.store, world=settings.world)) as store:
            assert [done.action for done in store.actions(sid)] == ["hangup"]
        assert not other.exists()


def test_wait_hears_of_the_call_from_the_listener(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Service(home=home, env=env) as service:
        assert service.ready
        sid = callctl("place", "+12025550100", "--say", "Hello", env=env).out.strip()
        assert callctl("wait", sid, "--for", "answered", env=env).code == 0
        doctor = callctl("doctor", env=env)
        assert f"a listener of this account listens at {service.port}, not at 8765" in doctor.out
