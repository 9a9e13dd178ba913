"""``callctl doctor``: who listens, and where nobody does though the settings are made for it."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from announcements import LOCAL_URL, announce_at, record_of, settings_of, withdraw
from api.scripted import Server
from doctor_runs import doctor, level, with_key
from processes import Piped
from running import Callctl, env_for
from twilio.rest import Client
from web_site import closed_port, free_port

from callctl.settings import load
from callctl.simulator import Simulator
from callctl.watch.registry.process import process_space
from callctl.watch.registry.registry import write_record


def client_of(simulator: Simulator) -> Client:
    client = Client(simulator.account_sid, simulator.auth_token)
    client.api.base_url = simulator.url
    return client


def test_nobody_listens_though_the_settings_are_made_for_it(callctl: Callctl, simulator: Simulator) -> None:
    env, nobody = env_for(simulator), "no watch and no listener of this account runs"
    _, findings = doctor(callctl, env | {"CALLCTL_PUBLIC_URL": "http://localhost:1"})
    assert (findings["listener"]["text"], level(findings, "listener")) == (f"{nobody}: callbacks are lost", "warning")
    assert findings["listener"]["fix"] == "start `callctl listen` or `callctl watch`"
    for options in ((), ("--public-url", "http://localhost:1")):  # that is an address to be tried
        _, findings = doctor(callctl, env, *options)
        assert (findings["listener"]["text"], level(findings, "listener")) == (
            f"{nobody}; `callctl watch` takes callbacks in",
            "ok",
        )


def test_nobody_listens_on_a_shared_store(callctl: Callctl, simulator: Simulator, shared_store: str) -> None:
    code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": shared_store})
    assert (code, level(findings, "store"), level(findings, "listener")) == (0, "ok", "warning")


def test_of_a_store_that_is_away_it_is_not_known_who_listens(callctl: Callctl, simulator: Simulator) -> None:
    with closed_port() as port:
        env = env_for(simulator) | {"CALLCTL_STORE": f"postgresql://callctl@127.0.0.1:{port}/callctl"}
        _, findings = doctor(callctl, env)
    assert (level(findings, "store"), level(findings, "listener")) == ("error", "skipped")


def test_listeners_on_other_machines_are_named_with_their_trouble(
    callctl: Callctl, simulator: Simulator, home: Path, shared_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(simulator, home, shared_store)
    env = env_for(simulator) | {"CALLCTL_STORE": shared_store}
    record = record_of(settings, callback_url=LOCAL_URL, trouble="no request comes through to it now")
    announce_at("web1", settings, record, monkeypatch)
    _, findings = doctor(callctl, env)
    assert findings["port"]["text"] == "a listener of this account listens at 8765 of web1 (process 7)"
    assert "listeners" not in findings
    assert level(findings, "listener") == "warning"
    assert findings["listener"]["text"] == "the listener says that no request comes through to it now"
    assert level(findings, "round trip") == "skipped"  # here that address leads somewhere else
    assert f"{LOCAL_URL} is an address of web1" in findings["round trip"]["text"]
    announce_at("web2", settings, replace(record, nonce="n2", pid=8, trouble=""), monkeypatch)
    _, findings = doctor(callctl, env)
    assert findings["port"]["text"] == "a listener of this account listens at 8765 of web2 (process 8)"
    assert findings["listeners"]["text"] == "2; beside that one a listener at 8765 of web1 (process 7)"
    assert findings["listener"]["text"] == (
        "the listener at 8765 of web1 (process 7) says that no request comes through to it now"
    )


def test_the_round_trip_goes_through_the_address_that_another_users_listener_announced(
    callctl: Callctl, simulator: Simulator, home: Path, shared_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = env_for(simulator)
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        ready = watch.record()
        assert "same store" not in doctor(callctl, env)[1]
        _, findings = doctor(callctl, env | {"CALLCTL_STORE": str(home / "other.db")})
        assert level(findings, "same store") == "warning"
        store = home / ".local" / "state" / "callctl" / "events.db"
        assert f"keeps events in {store}, not in {home / 'other.db'}" in findings["same store"]["text"]
        assert findings["same store"]["fix"] == f"set CALLCTL_STORE={store} to use the same store"
        nonce = str(watch.until_health(str(ready["health_url"]), bool)["nonce"])
        settings = settings_of(simulator, home, shared_store)
        shared = env | {"CALLCTL_STORE": shared_store, "XDG_STATE_HOME": str(home / "another")}
        for announced, found in ((nonce, "ok"), ("another", "error")):
            record = record_of(settings, nonce=announced, callback_url=str(ready["callback_url"]))
            announce_at(socket.gethostname(), settings, replace(record, pid=os.getpid()), monkeypatch)
            _, findings = doctor(callctl, shared)
            assert level(findings, "port") == "ok"
            assert findings["public URL"]["text"].startswith(f"{ready['callback_url']} (of the running listener)")
            assert level(findings, "round trip") == found
            withdraw(settings, record)


def test_without_a_token_here_a_listener_elsewhere_that_is_in_order_is_believed(
    callctl: Callctl, simulator: Simulator, home: Path, shared_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(simulator, home, shared_store)
    client_of(simulator).incoming_phone_numbers.create(phone_number="+12025550142")
    record = record_of(settings)
    announce_at("web1", settings, record, monkeypatch)
    env = with_key(simulator, TWILIO_AUTH_TOKEN="", CALLCTL_STORE=shared_store)
    _, findings = doctor(callctl, env)
    assert (level(findings, "round trip"), level(findings, "number")) == ("skipped", "warning")
    for trouble, why in (
        ("no request comes through to it now", "nothing comes through to the listener at web1, see listener"),
        ("it can't store callbacks now and answers with 500", "the listener at web1 can't store callbacks now, see"),
    ):
        announce_at("web1", settings, replace(record, trouble=trouble), monkeypatch)
        _, findings = doctor(callctl, env)
        assert (level(findings, "numbers"), "number" in findings) == ("skipped", False)
        assert findings["numbers"]["text"].startswith(f"not checked: +12025550142: {why}")


def test_a_listener_that_is_stopped_is_named_beside_one_that_runs(
    callctl: Callctl, simulator: Simulator, home: Path
) -> None:
    env = env_for(simulator)
    client = client_of(simulator)
    arguments = ("watch", "--port", "0", "--no-poll", "--json")
    with Piped(*arguments, home=home, env=env) as stopped, Piped(*arguments, home=home, env=env) as other:
        port, url = other.record()["port"], stopped.record()["callback_url"]
        env |= {"CALLCTL_PORT": str(port)}
        client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=url, status_callback=url)
        assert "watch" not in doctor(callctl, env)[1]
        pid = stopped.stop(signal.SIGSTOP)
        code, findings = doctor(callctl, env)
        assert (code, level(findings, "round trip"), level(findings, "watch")) == (1, "ok", "warning")
        assert findings["watch"]["text"].startswith(f"the watch (process {pid}) is stopped, as by Ctrl-Z")
        assert findings["number"]["text"] == (
            "the calls of +12025550142 fail: the voice URL leads to the listener, to which nothing comes through"
        )
        assert level(findings, "numbers") == "skipped"
        assert "command" not in str(findings)
        stopped.go_on()


def test_one_that_does_not_answer_is_neither_another_program_nor_gone(
    callctl: Callctl, simulator: Simulator, home: Path
) -> None:
    with closed_port() as closed, Server() as hanging:  # which answers nothing in order
        url = f"http://127.0.0.1:{closed}/status"
        client_of(simulator).incoming_phone_numbers.create(
            phone_number="+12025550142", voice_url=url, status_callback=url
        )
        env = env_for(simulator) | {"CALLCTL_PUBLIC_URL": url}
        port = hanging.server_port
        settings = load({**env, "HOME": str(home)}, cwd=home)
        health_url = f"http://127.0.0.1:{port}/healthz"
        record = record_of(settings, callback_url=url, health_url=health_url, processes=process_space())
        write_record(settings, replace(record, pid=os.getpid()))
        text = f"the listener at {port} (process {os.getpid()}) does not answer: what is sent to it may be lost"
        code, findings = doctor(callctl, env | {"CALLCTL_PORT": str(port)})
        assert (code, findings["port"]["text"], "watch" in findings) == (1, f"{port} is taken: {text}", False)
        _, findings = doctor(callctl, env | {"CALLCTL_PORT": str(free_port())})
        assert (findings["watch"]["text"], "listener" in findings) == (text, False)
        with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env_for(simulator)) as watch:
            watch.record()
            code, findings = doctor(callctl, env)
    assert (code, findings["watch"]["text"], level(findings, "numbers")) == (0, text, "skipped")
    assert (level(findings, "number"), "command" in str(findings)) == ("warning", False)
