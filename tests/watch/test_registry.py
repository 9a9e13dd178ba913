from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from callctl.errors import CallctlError
from callctl.settings import Settings
from callctl.store.sqlite.store import SqliteStore
from callctl.watch.registry.health import ask_health, health_of, why_callbacks_may_be_lost
from callctl.watch.registry.process import is_stopped, process_space, resume_hint, stopped_in_words
from callctl.watch.registry.record import WatchRecord
from callctl.watch.registry.registry import (
    announce,
    find,
    has_others,
    remove_record,
    renew_record,
    running,
    stopped,
    write_record,
)

ACCOUNT = "AC" + "0" * 32


@dataclass
class Watch:
    """Answers /healthz as a watch does."""

    url: str
    answer: bytes


@pytest.fixture
def watch() -> Iterator[Watch]:
    with answering_watch("n1") as watch:
        yield watch


@contextmanager
def answering_watch(nonce: str) -> Iterator[Watch]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answering.answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        answering = Watch(f"http://127.0.0.1:{server.server_port}/healthz", json.dumps({"nonce": nonce}).encode())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield answering
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(account_sid=ACCOUNT, api_url="http://127.0.0.1:9999", state_dir=tmp_path / "state" / "callctl")


@pytest.fixture
def record(watch: Watch, settings: Settings) -> WatchRecord:
    return WatchRecord(
        callback_url="http://127.0.0.1:8765/status",
        health_url=watch.url,
        account_sid=ACCOUNT,
        api_url=settings.api_url,
        pid=1,
        nonce="n1",
        version="0",
        processes=process_space(),
    )


def test_a_running_watch_is_found(settings: Settings, record: WatchRecord) -> None:
    assert find(settings) is None
    write_record(settings, record)
    assert find(settings) == record


def test_the_record_is_the_owners_alone(settings: Settings, record: WatchRecord) -> None:
    path = write_record(settings, record)
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent, settings.state_dir)]
    assert modes == [0o600, 0o700, 0o700]
    assert [one.name for one in path.parent.iterdir()] == [f"{settings.world}-n1.json"]  # no unfinished file remains


@pytest.mark.parametrize(
    ("health", "why"),
    [
        ({}, None),
        ({"reachable": True, "status": "ok"}, None),
        ({"reachable": False, "status": "ok"}, "no request comes through"),
        ({"reachable": True, "status": "failing"}, "it can't store callbacks"),
    ],
)
def test_what_a_running_watch_says_is_wrong_with_it_is_known(
    record: WatchRecord, watch: Watch, health: dict[str, object], why: str | None
) -> None:
    watch.answer = json.dumps({"nonce": "n1", **health}).encode()
    reason = why_callbacks_may_be_lost(health_of(record) or {})
    assert reason is None if why is None else why in str(reason)


def test_a_watch_that_answers_otherwise_or_not_at_all_is_none(
    settings: Settings, record: WatchRecord, watch: Watch
) -> None:
    write_record(settings, record)
    for answer in (b'{"nonce": "n2"}', b"[]", b"\xff", b""):
        watch.answer = answer
        assert find(settings) is None
    write_record(settings, replace(record, health_url="http://127.0.0.1:1/healthz"))
    assert find(settings) is None


def test_a_watch_of_another_account_or_address_is_none(settings: Settings, record: WatchRecord) -> None:
    for other in (replace(record, account_sid="AC1"), replace(record, api_url="https://api.twilio.com")):
        write_record(settings, other)
        assert find(settings) is None


def test_a_watch_that_reaches_the_region_by_another_edge_is_found(settings: Settings, record: WatchRecord) -> None:
    plain = replace(settings, api_url="https://api.twilio.com")
    edged = replace(plain, region="us1", edge="ashburn", api_url="https://api.ashburn.us1.twilio.com")
    record = replace(record, api_url=edged.api_url, callback_url="https://calls.example.com/status")
    write_record(edged, record)
    assert find(plain) == record


def test_a_loopback_callback_counts_only_for_a_loopback_api(settings: Settings, record: WatchRecord) -> None:
    twilio = replace(settings, api_url="https://api.twilio.com")
    local = replace(record, api_url=twilio.api_url)
    write_record(twilio, local)
    assert find(twilio) is None
    public = replace(local, callback_url="https://example.com/status")
    write_record(twilio, public)
    assert find(twilio) == public


def test_only_the_own_record_is_removed(settings: Settings, record: WatchRecord) -> None:
    path = write_record(settings, record)
    remove_record(settings, "another nonce")
    assert path.exists()
    remove_record(settings, "n1")
    assert not path.exists()
    remove_record(settings, "n1")  # a second time is harmless


def test_a_watch_that_was_there_first_is_found_after_the_second_has_gone(
    settings: Settings, record: WatchRecord
) -> None:
    write_record(settings, record)
    second = replace(record, nonce="n2", health_url="http://127.0.0.1:1/healthz")
    write_record(settings, second)
    assert find(settings) == record
    remove_record(settings, "n2")
    assert find(settings) == record


@pytest.mark.parametrize("newest", ["n1", "n2"])
def test_of_two_watches_the_newest_is_found_and_the_other_comes_after_it(
    settings: Settings, record: WatchRecord, newest: str
) -> None:
    with answering_watch("n2") as other:
        records = {"n1": record, "n2": replace(record, nonce="n2", health_url=other.url)}
        for nonce, one in records.items():
            path = write_record(settings, one)
            written = 2_000_000_000 if nonce == newest else 1_000_000_000
            os.utime(path, (written, written))
        assert find(settings) == records[newest]
        assert [one.nonce for one in running(settings)] == [newest, "n2" if newest == "n1" else "n1"]


def test_what_a_killed_watch_left_behind_is_cleared_away(settings: Settings, record: WatchRecord) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    abandoned = replace(record, health_url="http://127.0.0.1:1/healthz", pid=dead.pid)
    path = write_record(settings, abandoned)
    assert find(settings) is None
    assert not path.exists()


@pytest.mark.parametrize("seen_from", ["here", "a container"])
def test_what_a_watch_in_another_container_wrote_stays_as_long_as_it_is_renewed(
    settings: Settings, record: WatchRecord, monkeypatch: pytest.MonkeyPatch, seen_from: str
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    there = replace(record, health_url="http://127.0.0.1:1/healthz", pid=dead.pid)
    path = write_record(settings, there if seen_from == "a container" else replace(there, processes="of a container"))
    if seen_from == "a container":
        monkeypatch.setattr("callctl.watch.registry.process.process_space", lambda: "of a container")
    assert find(settings) is None
    assert path.exists()
    monkeypatch.setattr("callctl.watch.registry.registry.RENEWED_FOR", -1.0)
    assert find(settings) is None
    assert not path.exists()


def test_a_record_that_is_renewed_keeps_its_place_among_others(
    settings: Settings, record: WatchRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.registry.registry.RENEW_EVERY", -1.0)
    path = write_record(settings, record)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    before = path.stat()
    deadline = time.monotonic() + 10
    while path.stat().st_ctime_ns == before.st_ctime_ns and time.monotonic() < deadline:
        renew_record(settings, record.nonce)
    assert path.stat().st_ctime_ns > before.st_ctime_ns
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    remove_record(settings, record.nonce)
    renew_record(settings, record.nonce)
    assert not path.exists()


def test_a_process_with_the_id_of_one_in_a_container_is_another_one(
    settings: Settings, record: WatchRecord, watch: Watch, sleeper: subprocess.Popen[bytes]
) -> None:
    watch.answer = b"{}"
    write_record(settings, replace(record, pid=sleeper.pid, processes="of a container"))
    sleeper.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    assert stopped(settings) is None


def test_an_answer_that_drips_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                while not stop.wait(0.01):
                    connection.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert ask_health(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.2) is None
        finally:
            stop.set()
            dripping.join()


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"nonce": 3}', "\x00", "{" * 10_000])
def test_a_broken_record_is_none(settings: Settings, record: WatchRecord, text: str) -> None:
    path = write_record(settings, record)
    path.write_text(text)
    assert find(settings) is None
    remove_record(settings, "n1")


def test_a_record_with_fields_of_the_wrong_kind_is_none(settings: Settings, record: WatchRecord) -> None:
    path = write_record(settings, record)
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"callback_url": 5}))
    assert find(settings) is None
    path.write_text(json.dumps(fields | {"a_field_of_a_later_version": 5}))
    assert find(settings) == record


def test_proxies_are_passed_by(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask_health(watch.url) == {"nonce": "n1"}


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "http://127.0.0.1:99999/", "http://[::1/"])
def test_a_health_url_that_is_none_is_no_watch(url: str) -> None:
    assert ask_health(url, timeout=1) is None


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o720, 0o702])
@pytest.mark.parametrize("part", [".", "watch"])
def test_records_count_only_where_nobody_else_writes(
    settings: Settings, record: WatchRecord, mode: int, part: str
) -> None:
    write_record(settings, record)
    folder = settings.state_dir / part
    folder.chmod(mode)
    for use in (lambda: find(settings), lambda: write_record(settings, record)):
        with pytest.raises(CallctlError, match=rf"others may write to the state folder {folder} \(mode ") as refused:
            use()
        assert refused.value.hint == f"chmod go-w {folder}"
    folder.chmod(0o755)
    assert find(settings) == record


def test_a_file_where_the_folder_of_records_should_be_is_named(settings: Settings, record: WatchRecord) -> None:
    settings.state_dir.mkdir(parents=True)
    folder = settings.state_dir / "watch"
    folder.write_text("")
    for use in (lambda: find(settings), lambda: write_record(settings, record)):
        with pytest.raises(CallctlError, match=rf"the state folder {folder} is no folder"):
            use()


def make_anothers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)


@pytest.mark.parametrize("part", [".", "watch"])
def test_records_in_another_users_folder_count_for_nothing(
    settings: Settings, record: WatchRecord, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(settings, record)
    make_anothers(settings.state_dir / part, monkeypatch)
    for use in (lambda: find(settings), lambda: write_record(settings, record)):
        with pytest.raises(CallctlError, match="is another user's") as refused:
            use()
        assert refused.value.hint == "set XDG_STATE_HOME to a folder of your own"


def test_a_record_that_another_user_could_write_is_none(
    settings: Settings, record: WatchRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_record(settings, record)
    for mode in (0o606, 0o620):
        path.chmod(mode)
        assert find(settings) is None
    path.chmod(0o644)
    assert find(settings) == record
    if os.geteuid() == 0:
        make_anothers(path, monkeypatch)
        assert find(settings) is None


def test_a_pipe_in_a_records_place_is_not_waited_for(settings: Settings, record: WatchRecord) -> None:
    path = write_record(settings, record)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert find(settings) is None


def test_a_folder_that_can_not_be_looked_at_is_reported(settings: Settings, record: WatchRecord) -> None:
    settings.state_dir.parent.mkdir()
    long = replace(settings, state_dir=settings.state_dir.parent / ("x" * 300) / "callctl")
    with pytest.raises(CallctlError, match=r"can't look at the state folder .* File name too long") as refused:
        find(long)
    assert "XDG_STATE_HOME" in (refused.value.hint or "")
    with pytest.raises(CallctlError, match=r"can't write the record .* File name too long"):
        write_record(long, record)


def test_a_directory_that_can_not_be_written_is_named(tmp_path: Path, settings: Settings, record: WatchRecord) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(CallctlError, match="can't write the record"):
        write_record(replace(settings, state_dir=blocked / "callctl"), record)


def test_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, callctl.watch.registry.registry\n"
        "print([name for name in ('asyncio', 'aiohttp', 'sqlite3', 'http.client', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout == "[]\n"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    # In a process group of its own: the kernel discards SIGTSTP for a group that is alone in its session, as in CI.
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=0) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("by_ps", [False, True], ids=["proc", "ps"])
@pytest.mark.parametrize("sent", [signal.SIGSTOP, signal.SIGTSTP], ids=str)
def test_a_process_that_is_stopped_is_known_as_such_until_it_goes_on(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, by_ps: bool
) -> None:
    if by_ps:
        if not Path("/bin/ps").exists():
            pytest.skip("there is no /bin/ps")
        monkeypatch.setattr("callctl.watch.registry.process.PROC", Path("/nowhere"))
    assert not is_stopped(sleeper.pid)
    sleeper.send_signal(sent)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_stopped(sleeper.pid)
    sleeper.send_signal(signal.SIGCONT)
    os.waitid(os.P_PID, sleeper.pid, os.WCONTINUED | os.WNOWAIT)
    assert not is_stopped(sleeper.pid)


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 2, "1", None, True], ids=repr)
def test_what_is_no_process_is_not_stopped(pid: object) -> None:
    assert not is_stopped(pid)


def test_a_stopped_watch_is_found_though_it_does_not_answer(
    settings: Settings, record: WatchRecord, watch: Watch, sleeper: subprocess.Popen[bytes]
) -> None:
    watch.answer = b"{}"
    write_record(settings, replace(record, pid=sleeper.pid))
    assert (find(settings), stopped(settings)) == (None, None)
    sleeper.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    stopped_watch = stopped(settings)
    assert stopped_watch is not None
    assert f"(process {sleeper.pid}) is stopped, as by Ctrl-Z" in stopped_in_words(stopped_watch)
    assert resume_hint(stopped_watch) == f"`fg` in its terminal, or `kill -CONT {sleeper.pid}`, continues it"
    assert stopped(replace(settings, account_sid="AC" + "1" * 32)) is None


@pytest.mark.skipif(not process_space(), reason="whose processes have which ids is not known here")
def test_the_announcements_of_killed_processes_are_deleted_from_a_file_and_those_of_others_stay(
    tmp_path: Path, record: WatchRecord, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    gone = replace(record, pid=ended.pid, host=socket.gethostname())
    left = {
        "killed": gone,
        "killed too": gone,
        "stopped": replace(gone, pid=sleeper.pid),
        "another user's": replace(gone, pid=1),
        "in a container": replace(gone, processes="of a container"),
        "of an older version": replace(gone, processes=""),
    }
    sleeper.send_signal(signal.SIGSTOP)
    own, asked = replace(record, pid=os.getpid(), nonce="own"), list[None]()

    def counted() -> str:
        asked.append(None)
        return process_space()

    for module in ("process", "registry"):
        monkeypatch.setattr(f"callctl.watch.registry.{module}.process_space", counted)
    with closing(SqliteStore.open(tmp_path / "events.db", world="0123456789abcdef")) as store:
        for nonce, other in left.items():
            store.announce(nonce, asdict(replace(other, nonce=nonce)), lasting=timedelta(hours=1))
        announce(store, own)
        assert set(store.announced()) == {"own", *left} - {"killed", "killed too"}
        assert len(asked) == 1
        assert has_others(store, other_than="own")
        store.withdraw(*(left.keys() - {"killed"}))
        store.announce("killed", asdict(replace(gone, nonce="killed")), lasting=timedelta(hours=1))
        asked.clear()
        assert not has_others(store, other_than="own")
        assert len(asked) == 1


@pytest.mark.skipif(not process_space(), reason="whose processes have which ids is not known here")
def test_many_announcements_of_killed_processes_are_deleted_some_at_a_time(
    tmp_path: Path, record: WatchRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_LOOKED_AT_FIRST", "_MOST_JUDGED"):
        monkeypatch.setattr(f"callctl.watch.registry.registry.{limit}", 3)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    own, beside = (replace(record, pid=os.getpid(), nonce=nonce) for nonce in ("own", "beside"))
    left: list[int] = []
    with closing(SqliteStore.open(tmp_path / "events.db", world="0123456789abcdef")) as store:
        announce(store, beside)
        announce(store, own)
        for number in range(8):
            nonce = f"killed {number}"
            store.announce(nonce, asdict(replace(record, pid=ended.pid, nonce=nonce)), lasting=timedelta(hours=1))
        for _ in range(3):
            announce(store, own)
            left.append(len(store.announced()))
            assert has_others(store, other_than="own")
    assert left == [7, 4, 2]
