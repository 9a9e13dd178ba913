"""``callctl place`` against the simulator."""

import contextlib
import errno
import io
import json
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from api.raw import RawServer, whole
from api.scripted import Handler, Server, Turn, call, drop, hang, reply
from processes import LIMIT, OnTerminal, Piped
from running import Callctl, env_for

from callctl.errors import StoreError
from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.sqlite.store import SqliteStore


def test_on_a_pipe_it_prints_the_sid_alone(callctl: Callctl, simulator: Simulator) -> None:
    outcome = callctl("place", "+12025550100", "--say", "Hello", "--status-callback", "none", env=env_for(simulator))
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("CA")
    assert len(outcome.out) == 35


def test_on_a_terminal_it_shows_the_call(callctl: Callctl, simulator: Simulator) -> None:
    outcome = callctl("place", "+12025550100", "--say", "Hello", terminal=True, env=env_for(simulator))
    assert outcome.code == 0
    assert "queued" in outcome.out
    assert "+12025550100" in outcome.out


def test_json_has_rests_field_names(callctl: Callctl, simulator: Simulator) -> None:
    outcome = callctl("place", "+12025550100", "--say", "Hello", "--json", env=env_for(simulator))
    call = json.loads(outcome.out)
    assert call["status"] == "queued"
    assert call["from"] == "+15005550006"
    assert call["parent_call_sid"] is None
    assert call["date_created"].endswith("Z")


def test_without_a_watch_it_says_that_there_are_no_callbacks(callctl: Callctl, simulator: Simulator) -> None:
    outcome = callctl("place", "+12025550100", "--say", "Hello", env=env_for(simulator))
    assert "no status callbacks: no watch or listener is running" in outcome.err
    assert "callctl watch" in outcome.err


def test_the_public_url_takes_the_watchs_place(callctl: Callctl, simulator: Simulator) -> None:
    env = {**env_for(simulator), "CALLCTL_PUBLIC_URL": "http://127.0.0.1:9"}
    outcome = callctl("place", "+12025550100", "--say", "Hello", env=env)
    assert outcome.code == 0
    assert "http://127.0.0.1:9/status" in outcome.err


def test_twiml_comes_from_a_file_or_from_stdin(callctl: Callctl, simulator: Simulator, home: Path) -> None:
    (home / "hello.xml").write_text("<Response><Say>Hello</Say></Response>")
    env = env_for(simulator)
    assert callctl("place", "+12025550100", "--twiml", "@hello.xml", env=env).code == 0
    assert callctl("place", "+12025550100", "--twiml", "-", stdin="<Response/>", env=env).code == 0
    declared = '<?xml version="1.0"?><Response/>'
    (home / "lead.xml").write_text(f"\ufeff\n{declared}\n", encoding="utf-8")
    for more in ((), ("--dry-run",)):
        assert callctl("place", "+12025550100", "--twiml", "@lead.xml", *more, env=env).code == 0
    sent = [request.form["Twiml"] for request in simulator.requests if request.method == "POST"]
    assert sent[-1] == (declared,)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["place", "2025550100", "--say", "x"], "not a number, SIP address or client: 2025550100"),
        (["place", "+12025550100"], "nothing says what the call is to do"),
        (["place", "+12025550100", "--say", "x", "--url", "survey"], "--url and --say exclude each other"),
        (["place", "+12025550100", "--url", "surwey"], "no URL is named 'surwey' (known: survey)"),
        (["place", "+12025550100", "--url", "example.com/x.xml"], "https:// is missing: https://example.com/x.xml"),
        (["place", "+12025550100", "--url", "localhost:8000/x"], "http:// is missing: http://localhost:8000/x"),
        (["place", "+12025550100", "--twiml", "<Response>"], "not well-formed"),
        (["place", "+12025550100", "--twiml", '<Response><Gather action="/x"/></Response>'], "no absolute URL"),
        (["redirect", "CA" + "1" * 32, "--twiml", "<Response><Record/></Response>"], "<Record> has no action"),
        (
            ["place", "+12025550100", "--twiml", "@hook.xml", "--add-callbacks"],
            "no such event: answered,completed",
        ),
        (["place", "+12025550100", "--twiml", f"<Response>{' ' * 4000}</Response>"], "4000"),
        (["place", "+12025550100", "--twiml", "@missing.xml"], "can't read missing.xml"),
        (["place", "+12025550100", "--dial", "bob"], "not a number, SIP address or client: bob"),
        (["place", "+12025550100", "--say", "x", "--status-callback", "somewhere"], "neither a URL nor none"),
        (["place", "+12025550100", "--say", "x", "--from", "ann"], "not a number in E.164 form: ann"),
    ],
)
def test_bad_input_is_one_line_with_a_code(
    callctl: Callctl, simulator: Simulator, home: Path, args: list[str], message: str
) -> None:
    env = {**env_for(simulator), "CALLCTL_URL_SURVEY": "https://example.com/survey"}
    (home / "hook.xml").write_text(
        '<Response><Dial><Sip statusCallbackEvent="answered,completed">sip:a@example.com</Sip></Dial></Response>'
    )
    outcome = callctl(*args, env=env)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.out == ""
    assert simulator.requests == ()


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000/x", "http://192.168.1.5/x", "https://a_b.example.com/x"])
def test_addresses_that_twilio_cannot_reach_are_refused(callctl: Callctl, address: str) -> None:
    env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_FROM": "+15005550006"}
    outcome = callctl("place", "+12025550100", "--url", address, "--status-callback", "none", env=env)
    assert outcome.code == 2
    assert "can't reach" in outcome.err


def test_wrong_credentials_exit_4(callctl: Callctl, simulator: Simulator) -> None:
    env = {**env_for(simulator), "TWILIO_AUTH_TOKEN": "f" * 32}
    outcome = callctl("place", "+12025550100", "--say", "Hello", env=env)
    assert outcome.code == 4
    assert "20003" in outcome.err
    assert "f" * 32 not in outcome.err


def test_missing_credentials_are_named_and_the_demo_offered(callctl: Callctl) -> None:
    outcome = callctl("place", "+12025550100", "--say", "Hello", "--from", "+15005550006")
    assert outcome.code == 2
    assert "TWILIO_ACCOUNT_SID" in outcome.err
    assert "callctl demo" in outcome.err


def test_nothing_listening_exits_6(callctl: Callctl) -> None:
    env = {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "0" * 32,
        "CALLCTL_API_URL": "http://127.0.0.1:9",
        "CALLCTL_FROM": "+15005550006",
    }
    outcome = callctl("list", env=env, back_off=lambda _seconds: None)
    assert outcome.code == 6


SID = "CA" + "1" * 32
ENV = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "fake-token",
    "CALLCTL_FROM": "+15005550006",
}
PLACE = ("place", "+12025550100", "--say", "Hello", "--status-callback", "none")


@pytest.mark.parametrize("json_", [(), ("--json",)])
def test_an_odd_answer_loses_no_sid(callctl: Callctl, json_: tuple[str, ...]) -> None:
    body = json.dumps({"sid": SID, "status": "queued", "x": float("inf"), "price": "1e999", "to": "\ud800"}).encode()
    date = b"Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
    with RawServer(whole(201, body, {"Date": date, "Content-Type": b"application/json; charset"})) as server:
        outcome = callctl(*PLACE, *json_, env={**ENV, "CALLCTL_API_URL": server.url})
    assert outcome.code == 0, outcome.err
    assert SID in outcome.out
    if json_:
        assert json.loads(outcome.out, parse_constant=pytest.fail)["x"] is None


def test_an_answer_that_breaks_off_is_said_to(callctl: Callctl) -> None:
    with RawServer(whole(201, b'{"sid": "' + SID.encode(), {"Content-Length": b"900"})) as server:
        outcome = callctl(*PLACE, env={**ENV, "CALLCTL_API_URL": server.url})
    assert (outcome.code, outcome.out) == (0, f"{SID}\n")
    assert f"warning: the answer could not be read whole; the call is placed: `callctl show {SID}`" in outcome.err


@pytest.mark.parametrize("fault", [UnicodeError("odd"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["store.sqlite.store.SqliteStore.remember_placed", "cli.place.placed.show_new_call"])
def test_whatever_fails_afterwards_loses_no_sid(
    callctl: Callctl, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, where: str, fault: BaseException
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise fault

    streams = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patched, contextlib.suppress(UnicodeError):  # reported where the process ends
        patched.setattr(f"callctl.{where}", fail)
        callctl(*PLACE, env=env_for(simulator), streams=streams)
    sid = callctl("list", "-q", env=env_for(simulator)).out.strip()
    assert len(sid) == 34
    assert sid in streams[0].getvalue() + streams[1].getvalue()


@pytest.mark.parametrize(
    ("answer", "is_known"),
    [(drop(), False), (reply(500), False), (reply(201, b"{"), False), (reply(400, {"code": 21211}), True)],
    ids=["broken", "500", "unreadable", "refused"],
)
@pytest.mark.parametrize("more", [(), ("--watch",)])
def test_after_a_call_that_may_have_been_placed_last_is_not_the_one_before(
    callctl: Callctl, answer: Turn, is_known: bool, more: tuple[str, ...]
) -> None:
    ended = reply(200, call(status="completed"))
    with Server(reply(201, call()), answer, ended) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        env |= {"CALLCTL_FROM": "+15005550006", "CALLCTL_PORT": "0"}
        placing = ("place", "+12025550100", "--say", "Hello", "--status-callback", "none")
        assert callctl(*placing, env=env).code == 0
        assert callctl(*placing, *more, env=env).code != 0
        outcome = callctl("hangup", "@last", env=env)
        if is_known:
            assert (outcome.code, outcome.out) == (0, f"CA{'1' * 32}\tcompleted\tended\n")
        else:
            assert outcome.code == 3
            assert "@last stands for no call: it is not known whether the last one was placed" in outcome.err
            assert len(server.received) == 2


# What `@last` stands for where the answer is not waited for, or the store can't be written

NOT_KNOWN = "@last stands for no call: it is not known whether the last one was placed"


@pytest.fixture
def received() -> threading.Semaphore:
    """Released with each request that is not answered."""
    return threading.Semaphore(0)


@pytest.fixture
def server(received: threading.Semaphore) -> Iterator[Server]:
    """An API that places one call, and does not answer to the next request."""

    def wait(handler: Handler) -> None:
        received.release()
        hang()(handler)

    with Server(reply(201, call()), wait, reply(200, call(status="completed"))) as server:
        yield server


def env_of(server: Server) -> dict[str, str]:
    return {**ENV, "CALLCTL_API_URL": server.url, "CALLCTL_PORT": "0"}


def test_last_is_no_call_of_a_store_that_came_with_somebodys_repository(
    callctl: Callctl, tmp_path: Path, simulator: Simulator
) -> None:
    """Its .env was found, not named: who made it would choose which call `hangup @last` ends."""
    env, repository = env_for(simulator), tmp_path / "repository"
    repository.mkdir()
    victim = callctl(*PLACE, env=env).out.strip()
    (repository / ".env").write_text("CALLCTL_STORE=calls.db\n")
    world = load({"HOME": str(tmp_path), **env}, cwd=tmp_path).world
    with contextlib.closing(SqliteStore.open_for_watch(repository / "calls.db", world=world)) as store:
        store.remember_placed(victim, at=datetime.now(UTC))
    refused = callctl("hangup", "@last", env=env, cwd=repository)
    assert (refused.code, refused.out) == (3, "")
    assert NOT_KNOWN in refused.err
    mine = callctl(*PLACE, env=env, cwd=repository).out.strip()
    with contextlib.closing(SqliteStore.open_for_watch(repository / "calls.db", world=world)) as store:
        store.remember_placed(victim, at=datetime.now(UTC))
        assert NOT_KNOWN in callctl("hangup", "@last", env=env, cwd=repository).err
        store.remember_placed(mine, at=datetime.now(UTC))
    ended = callctl("hangup", "@last", env=env, cwd=repository)
    assert (ended.code, mine in ended.out) == (0, True)
    named = callctl("hangup", "@last", "--env-file", ".env", env=env, cwd=repository)
    assert f"@last is {mine}" in named.err


@pytest.mark.parametrize("is_first", [True, False], ids=["first call", "later call"])
def test_last_is_no_call_that_was_begun_before_another_that_is_not_answered(
    callctl: Callctl, home: Path, received: threading.Semaphore, is_first: bool
) -> None:
    """Neither while that one waits, nor once it was killed."""
    earlier = "CA" + "4" * 32
    go_on = threading.Event()

    def answer_late(handler: Handler) -> None:
        received.release()
        assert go_on.wait(LIMIT)
        reply(201, call(earlier))(handler)

    def wait(handler: Handler) -> None:
        received.release()
        hang()(handler)

    before = [] if is_first else [reply(201, call())]
    with Server(*before, answer_late, wait, reply(200, call(status="completed"))) as server:
        env = env_of(server)
        for _ in before:
            assert callctl(*PLACE, env=env).code == 0
        with Piped(*PLACE, home=home, env=env) as first:
            assert received.acquire(timeout=LIMIT)
            with Piped(*PLACE, home=home, env=env) as second:
                assert received.acquire(timeout=LIMIT)
                go_on.set()
                assert first.line() == earlier
                assert list(first.lines()) == []  # it has ended
                assert NOT_KNOWN in callctl("hangup", "@last", env=env).err
                second.kill()
        assert NOT_KNOWN in callctl("hangup", "@last", env=env).err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("more", [(), ("--watch",)], ids=["alone", "watch"])
def test_a_place_that_a_signal_ends_says_that_it_may_be_placed_and_last_is_not_the_one_before(
    callctl: Callctl,
    home: Path,
    server: Server,
    received: threading.Semaphore,
    more: tuple[str, ...],
    sent: signal.Signals,
) -> None:
    env = env_of(server)
    assert callctl(*PLACE, env=env).code == 0
    with Piped(*PLACE, *more, home=home, env=env) as command:
        assert received.acquire(timeout=LIMIT)
        assert NOT_KNOWN in callctl("hangup", "@last", env=env).err  # before it has ended, too
        assert command.interrupt(sent) == 130
        command.until_said("the call may have been placed: look with `callctl list --live --to +12025550100`")
        assert command.until_said("callctl: interrupted").count("interrupted") == 1
    outcome = callctl("hangup", "@last", env=env)
    assert (outcome.code, outcome.out) == (3, "")
    assert NOT_KNOWN in outcome.err
    assert len(server.received) == 2


@pytest.mark.parametrize("more", [(), ("--watch",)], ids=["alone", "watch"])
def test_a_place_that_is_interrupted_while_it_waits_to_try_again_was_certainly_not_placed(
    callctl: Callctl, home: Path, more: tuple[str, ...]
) -> None:
    busy = reply(429, {"code": 20429, "message": "Too Many Requests", "status": 429}, Retry_After="30")
    with Server(reply(201, call()), busy, reply(200, call(status="completed"))) as server:
        env = env_of(server)
        assert callctl(*PLACE, env=env).code == 0
        with Piped(*PLACE, *more, home=home, env=env) as command:
            command.until_said("trying again in 30.0 s")
            assert command.interrupt() == 130
            assert "may have been placed" not in command.until_said("callctl: interrupted")
        assert callctl("hangup", "@last", env=env).code == 0  # the one before
        assert [request.path.split("/")[-1] for request in server.received[:2]] == ["Calls.json"] * 2


def test_a_place_that_is_killed_leaves_last_standing_for_no_call(
    callctl: Callctl, home: Path, server: Server, received: threading.Semaphore
) -> None:
    env = env_of(server)
    assert callctl(*PLACE, env=env).code == 0
    with Piped(*PLACE, home=home, env=env) as command:
        assert received.acquire(timeout=LIMIT)
        command.kill()
    assert NOT_KNOWN in callctl("hangup", "@last", env=env).err
    assert len(server.received) == 2


def test_a_place_whose_terminal_is_gone_leaves_last_standing_for_no_call(
    callctl: Callctl, home: Path, server: Server, received: threading.Semaphore
) -> None:
    env = env_of(server)
    assert callctl(*PLACE, env=env).code == 0
    with OnTerminal(*PLACE, home=home, env=env) as terminal:
        assert received.acquire(timeout=LIMIT)
        terminal.hang_up()
    assert NOT_KNOWN in callctl("hangup", "@last", env=env).err


STORE = ".local/state/callctl/events.db"


@contextlib.contextmanager
def locked(home: Path, store: str = STORE) -> Iterator[None]:
    """Hold the store locked, as another program may."""
    other = sqlite3.connect(home / store, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


@pytest.mark.parametrize(
    ("answer", "code", "path"),
    [(reply(201, call("CA" + "2" * 32)), 0, STORE), (drop(), 6, STORE), (drop(), 6, "elsewhere.db")],
    ids=["answered", "broken", "elsewhere"],
)
def test_where_the_store_is_locked_last_is_not_the_one_before_until_the_next_is_placed(
    callctl: Callctl, home: Path, answer: Turn, code: int, path: str
) -> None:
    third = "CA" + "3" * 32
    answers = reply(201, call()), answer, reply(400, {"code": 21211}), reply(201, call(third)), reply(200, call(third))
    with Server(*answers) as server:
        env = {**env_of(server), "CALLCTL_STORE": str(home / path)}
        assert callctl(*PLACE, env=env).code == 0
        with locked(home, path):
            outcome = callctl(*PLACE, env=env)
            assert outcome.code == code
            assert ("placed, but @last will not stand for it: " in outcome.err) == (code == 0)
            assert NOT_KNOWN in callctl("hangup", "@last", env=env).err
        assert NOT_KNOWN in callctl("hangup", "@last", env=env).err
        (home / "link").symlink_to(home)
        for spelling in (home / "." / "link" / path, home / "link" / ".." / home.name / path):
            assert NOT_KNOWN in callctl("hangup", "@last", env={**env, "CALLCTL_STORE": str(spelling)}).err
        assert callctl(*PLACE, env=env).code != 0  # refused: the one before this is still the one that is not known
        assert NOT_KNOWN in callctl("hangup", "@last", env=env).err
        assert callctl(*PLACE, env=env).code == 0
        assert f"@last is {third}" in callctl("hangup", "@last", env=env).err


def test_a_refusal_while_the_store_is_locked_leaves_last_as_it_was(callctl: Callctl, home: Path) -> None:
    with Server(reply(201, call()), reply(400, {"code": 21211}), reply(200, call(status="completed"))) as server:
        env = env_of(server)
        assert callctl(*PLACE, env=env).code == 0
        with locked(home):
            assert callctl(*PLACE, env=env).code != 0
        assert f"@last is {SID}" in callctl("hangup", "@last", env=env).err


def test_where_nothing_can_be_written_it_says_so_before_the_call_is_placed(
    callctl: Callctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    streams = io.StringIO(), io.StringIO()

    def see(handler: Handler) -> None:
        said.append(streams[1].getvalue())
        reply(201, call())(handler)

    def refuse(*_args: object, **_more: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with Server(reply(201, call()), see) as server:
        env = env_of(server)
        assert callctl(*PLACE, env=env).code == 0
        with locked(home), monkeypatch.context() as patched:
            patched.setattr("callctl.store.last_placed.os.open", refuse)
            assert callctl(*PLACE, env=env, streams=streams).code == 0
    (before,) = said
    assert "callctl: @last may go on standing for the call before this one: can't write to the event store" in before


# The same where no call was placed before

NONE_IS_RECORDED = "@last stands for no call: no call is recorded that was placed with this account"


@pytest.fixture(params=["nothing", "a-store"])
def beginning(home: Path, request: pytest.FixtureRequest) -> None:
    """Leave nothing, or a store in which no call was placed."""
    if request.param == "a-store":
        SqliteStore.open(home / STORE, world="any").close()


@pytest.mark.usefixtures("beginning")
def test_a_first_call_that_could_not_be_recorded_is_not_known(
    callctl: Callctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("can't write to the event store: database or disk is full")

    second = "CA" + "2" * 32
    with Server(reply(201, call()), reply(201, call(second)), reply(200, call(second))) as server:
        env = env_of(server)
        assert NONE_IS_RECORDED in callctl("hangup", "@last", env=env).err
        with monkeypatch.context() as full:
            full.setattr(SqliteStore, "remember_placed", fail)
            placed = callctl(*PLACE, env=env)
        assert placed.code == 0
        assert "placed, but @last will not stand for it: can't write" in placed.err
        assert NOT_KNOWN in callctl("hangup", "@last", env=env).err
        assert callctl(*PLACE, env=env).code == 0
        assert f"@last is {second}" in callctl("hangup", "@last", env=env).err


@pytest.mark.usefixtures("beginning")
def test_a_first_place_that_is_killed_leaves_it_open_whether_it_was_placed(
    callctl: Callctl, home: Path, received: threading.Semaphore
) -> None:
    def wait(handler: Handler) -> None:
        received.release()
        hang()(handler)

    with Server(reply(400, {"code": 21211}), wait) as server:
        env = env_of(server)
        assert callctl(*PLACE, env=env).code != 0  # refused: no call was placed
        assert NONE_IS_RECORDED in callctl("hangup", "@last", env=env).err
        with Piped(*PLACE, home=home, env=env) as command:
            assert received.acquire(timeout=LIMIT)
            command.kill()
        assert NOT_KNOWN in callctl("hangup", "@last", env=env).err
