"""``callctl export``: files and streams, the calls that are meant, and what the API adds."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api.scripted import Handler, Server, call, reply
from cli.frozen import LONG, NOON, Frozen
from cli.local_store import add_callback, store_of
from running import Callctl, Outcome

from callctl.calls.action import ActionEvent
from callctl.errors import CallctlError
from callctl.settings import load
from callctl.store.records import Undelivered
from callctl.store.sqlite.store import SqliteStore

ANSWERS, BUSY = "+12025550100", "+12025550102"
ONE, TWO, THREE = (f"CA{number}{'0' * 31}" for number in (1, 2, 3))
COLLEAGUE = "ann@ops"


@pytest.fixture
def store(frozen: Frozen, home: Path) -> Iterator[SqliteStore]:
    with store_of(home, frozen.simulator) as store:
        yield store


@pytest.fixture
def recorded(store: SqliteStore) -> SqliteStore:
    """Return a store with a call that dialled another leg and was hung up, and an hour later a busy one."""
    for second, status, more in ((0, "ringing", {}), (2, "in-progress", {}), (30, "completed", {"CallDuration": "28"})):
        add_callback(store, ONE, status, at=NOON + timedelta(seconds=second), **more)
    child = {"ParentCallSid": ONE, "To": "sip:agent@example.com", "Direction": "outbound-dial"}
    for second, status in ((4, "ringing"), (9, "in-progress"), (30, "completed")):
        add_callback(store, TWO, status, at=NOON + timedelta(seconds=second), **child)
    add_callback(store, THREE, "busy", at=NOON + timedelta(hours=1), To=BUSY, CallerName="Ann Field")
    hangup = ActionEvent(NOON + timedelta(seconds=29), ONE, "hangup", (), "completed", by=COLLEAGUE)
    store.record_actions([hangup])
    return store


@contextmanager
def store_at(home: Path, env: Mapping[str, str]) -> Iterator[SqliteStore]:
    """Open the store of another API address."""
    settings = load({"HOME": str(home), **env}, cwd=home)
    settings.store.parent.mkdir(parents=True, exist_ok=True)
    store = SqliteStore.open(settings.store, world=settings.world)
    yield store
    store.close()


def said(outcome: Outcome) -> str:
    """Return what was said on stderr, without the word on whose API it is."""
    return "".join(line for line in outcome.err.splitlines(keepends=True) if "the API is" not in line)


def records(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.code == 0, outcome.err
    return list(json.loads(outcome.out))


def test_a_call_becomes_a_new_page_here(frozen: Frozen, recorded: SqliteStore, home: Path) -> None:
    del recorded
    first = frozen("export", ONE)
    assert (first.code, first.out, said(first)) == (0, f"callctl-{ONE}.html\n", "")
    page = (home / first.out.strip()).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert f"hung up by {COLLEAGUE}" in page
    assert frozen("export", ONE).out == f"callctl-{ONE}-2.html\n"
    assert frozen("export", TWO, "--format", "mermaid").out == f"callctl-{ONE}.md\n"
    assert (home / first.out.strip()).read_text(encoding="utf-8") == page


def test_several_calls_are_named_after_their_day(frozen: Frozen, recorded: SqliteStore, home: Path) -> None:
    del recorded
    outcome = frozen("export", "--since", "2026-01-05T11:00Z")
    assert (outcome.code, outcome.out) == (0, "callctl-2026-01-05.html\n")
    page = (home / outcome.out.strip()).read_text(encoding="utf-8")
    assert "2 calls with 3 legs: 1 completed, 1 not answered." in page
    assert "begun since 2026-01-05 1" in page


def test_a_file_that_is_named_is_replaced(frozen: Frozen, recorded: SqliteStore, home: Path) -> None:
    del recorded
    (home / "report.json").write_text("something else")
    outcome = frozen("export", ONE, "--format", "json", "--output", "report.json")
    assert (outcome.code, outcome.out) == (0, "report.json\n")
    assert json.loads((home / "report.json").read_text())[0]["sid"] == ONE
    refused = frozen("export", ONE, "--output", "no-such-folder/report.html")
    assert (refused.code, refused.out) == (1, "")
    assert "can't write no-such-folder/report.html: No such file or directory" in refused.err


def breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writing of JSON fail after its first piece."""

    def broken(*_: object) -> Iterator[str]:
        yield "[{"
        raise CallctlError("the API does not answer")

    monkeypatch.setattr("callctl.cli.export.document._json", broken)


def test_a_file_stays_as_it_was_until_the_whole_new_one_is_there(
    frozen: Frozen, recorded: SqliteStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del recorded
    report, link = home / "report.json", home / "link.json"
    report.write_text("before")
    report.chmod(0o640)
    link.symlink_to(report)
    with monkeypatch.context() as patch:
        breaks_off(patch)
        for name in ("report.json", "link.json", "other.json"):
            outcome = frozen("export", ONE, "--format", "json", "--output", name)
            assert (outcome.code, outcome.out, "does not answer" in outcome.err) == (1, "", True), outcome.err
    assert report.read_text() == "before"
    there = {path.name for path in home.iterdir()}
    assert there & {"report.json", "link.json", "other.json"} == {"report.json", "link.json"}
    assert not [name for name in there if name.startswith(".callctl-")]
    assert frozen("export", ONE, "--format", "json", "--output", "link.json").code == 0
    assert (link.is_symlink(), report.stat().st_mode & 0o777) == (True, 0o640)
    assert json.loads(report.read_text())[0]["sid"] == ONE


def test_a_pipe_or_a_device_is_written_to_as_it_is(frozen: Frozen, recorded: SqliteStore, home: Path) -> None:
    del recorded
    pipe = home / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert frozen("export", ONE, "--format", "csv", "--output", "pipe").code == 0
        assert os.read(reader, 65536).startswith(b"family,sid,")
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert frozen("export", ONE, "--format", "csv", "--output", "/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_file_with_two_names_keeps_both(frozen: Frozen, recorded: SqliteStore, home: Path) -> None:
    del recorded
    (home / "a.csv").write_text("before")
    os.link(home / "a.csv", home / "b.csv")
    assert frozen("export", ONE, "--format", "csv", "--output", "a.csv").code == 0
    assert (home / "b.csv").read_text().startswith("family,sid,")


@pytest.mark.parametrize(
    ("form", "start"),
    [("html", "<!doctype html>"), ("mermaid", "# What"), ("csv", "family,sid,"), ("json", "[{")],
)
def test_each_form_goes_to_stdout(frozen: Frozen, recorded: SqliteStore, home: Path, form: str, start: str) -> None:
    del recorded
    before = set(home.iterdir())
    outcome = frozen("export", ONE, "--format", form, "--output", "-")
    assert (outcome.code, outcome.out.startswith(start), said(outcome)) == (0, True, "")
    assert ONE in outcome.out
    assert set(home.iterdir()) == before


def test_without_fetch_nothing_is_asked_of_the_api(frozen: Frozen, recorded: SqliteStore) -> None:
    del recorded
    for args in ((ONE,), (ONE[:9],), ("--since", "2026-01-05")):
        assert frozen("export", *args, "--output", "-").code == 0
    assert not frozen.simulator.requests


@pytest.mark.parametrize("name", ["events.db", "events.db-wal", "watch/1", "new"])
def test_no_file_of_callctls_own_is_replaced(frozen: Frozen, recorded: SqliteStore, home: Path, name: str) -> None:
    del recorded
    state = home / ".local/state/callctl"
    (home / "link").symlink_to(state / name)
    before = (state / "events.db").read_bytes()
    for output in (str(state / name), f".local/state/../state/callctl/{name}", "link"):
        outcome = frozen("export", ONE, "--output", output)
        assert (outcome.code, outcome.out) == (2, "")
        assert "is a file of callctl's own" in outcome.err
    assert (state / "events.db").read_bytes() == before


def test_nor_is_a_store_that_is_elsewhere(frozen: Frozen, recorded: SqliteStore, home: Path) -> None:
    del recorded
    store = home / "calls.db"
    shutil.copy(home / ".local/state/callctl/events.db", store)
    os.link(store, home / "same")
    for output in ("calls.db", "calls.db-journal", "same"):
        outcome = frozen("export", ONE, "--output", output, env={"CALLCTL_STORE": str(store)})
        assert (outcome.code, "is a file of callctl's own" in outcome.err) == (2, True)


@pytest.mark.parametrize("which", [(ONE,), (ONE[:9],), ("--since", "2026-01-05")])
def test_a_store_that_can_not_be_read_is_no_store_without_the_call(
    frozen: Frozen, recorded: SqliteStore, home: Path, which: tuple[str, ...]
) -> None:
    recorded.close()
    (home / ".local/state/callctl/events.db").write_bytes(b"no database" * 1000)
    outcome = frozen("export", *which, "--output", "-")
    assert (outcome.code, outcome.out) == (1, "")
    assert "callctl: error: " in outcome.err
    assert "no callback of" not in outcome.err


def test_calls_by_start_by_stdin_and_by_name(frozen: Frozen, recorded: SqliteStore) -> None:
    del recorded
    piped = frozen("export", "-", "--format", "json", "--output", "-", stdin=f"{THREE}\tbusy\n{TWO}\n")
    assert [record["sid"] for record in records(piped)] == [THREE, ONE]
    both = frozen("export", ONE, TWO, "--format", "json", "--output", "-")
    assert [record["sid"] for record in records(both)] == [ONE]  # one family comes once
    sid = frozen.place(ANSWERS)
    last = frozen("export", "@last", "--output", "-")
    assert (last.code, last.out) == (3, "")
    assert f"no callback of {sid} is stored here\nhint: --fetch gets what the API" in last.err


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--to", BUSY], [THREE]),
        (["--status", "busy"], [THREE]),
        (["--to", "sip:agent@example.com"], [ONE]),
        (["--parent", ONE], [ONE]),
        (["--since", "2026-01-05T12:30Z"], [THREE]),
        (["--until", "2026-01-05T12:30Z"], [ONE]),
        (["--from", "+15005550006"], [ONE, THREE]),
        (["--live"], []),
        (["--to", "+12025550199"], []),
    ],
)
def test_filters_choose_families(frozen: Frozen, recorded: SqliteStore, filters: list[str], found: list[str]) -> None:
    del recorded
    outcome = frozen("export", *filters, "--format", "json", "--output", "-")
    assert [record["sid"] for record in records(outcome)] == found
    assert ("callctl: no calls match" in outcome.err) is (not found)


def test_live_calls_that_have_only_begun_count_as_queued_and_ringing(frozen: Frozen, store: SqliteStore) -> None:
    add_callback(store, ONE, "initiated", at=NOON)
    for filters in (["--live"], ["--status", "queued"], ["--status", "ringing"]):
        assert len(records(frozen("export", *filters, "--format", "json", "--output", "-"))) == 1
    assert records(frozen("export", "--status", "in-progress", "--format", "json", "--output", "-")) == []


def test_where_nothing_matches_no_page_is_made(frozen: Frozen, recorded: SqliteStore, home: Path) -> None:
    del recorded
    outcome = frozen("export", "--to", "+12025550199")
    assert (outcome.code, outcome.out, said(outcome)) == (0, "", "callctl: no calls match\n")
    assert not list(home.glob("callctl-*"))


def test_csv_has_a_row_a_leg(frozen: Frozen, recorded: SqliteStore) -> None:
    del recorded
    outcome = frozen("export", "--since", "2026-01-05", "--format", "csv", "--output", "-")
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert [(row["family"], row["sid"], row["status"], row["ended_by"], row["ended_by_whom"]) for row in rows] == [
        (ONE, ONE, "completed", "command", COLLEAGUE),
        (ONE, TWO, "completed", "command", COLLEAGUE),
        (THREE, THREE, "busy", "far-end", ""),
    ]


def test_a_limit_says_what_is_left_out(frozen: Frozen, recorded: SqliteStore) -> None:
    del recorded
    newest = frozen("export", "--since", "2026-01-05", "--limit", "1", "--format", "json", "--output", "-")
    assert [record["sid"] for record in records(newest)] == [THREE]
    assert "callctl: 1 of 2 calls are left out; --limit N shows more\n" in newest.err
    outcome = frozen("export", "--since", "2026-01-05", "--limit", "1", "--output", "-")
    page = outcome.out
    assert said(outcome) == "callctl: 1 of 2 calls are left out; --limit N shows more\n"
    assert "Left out: 1 story." in page
    assert "2 calls with 3 legs" in page
    text = frozen("export", "--since", "2026-01-05", "--limit", "1", "--format", "mermaid", "--output", "-").out
    assert "1 of 2 calls are left out" in text


def test_numbers_and_names_are_masked_in_every_form(frozen: Frozen, recorded: SqliteStore) -> None:
    del recorded
    for form in ("html", "mermaid", "csv", "json"):
        outcome = frozen("export", "--since", "2026-01-05", "--format", form, "--output", "-", "--mask-numbers")
        assert outcome.code == 0
        text = outcome.out.replace("&#42;", "*")
        assert "+1202***" in text
        assert not re.search(r"\+?1(202|500)555\d|sip:agent@|Ann Field", text)
        assert THREE in text
        chosen = frozen("export", "--to", BUSY, "--format", form, "--output", "-", "--mask-numbers")
        assert (chosen.code, THREE in chosen.out, BUSY in chosen.out) == (0, True, False)
    assert "Phone numbers and names are masked." in frozen("export", ONE, "--output", "-", "--mask-numbers").out


def test_what_the_api_adds(frozen: Frozen, store: SqliteStore) -> None:
    sid = frozen.place(ANSWERS, "--url", f"{frozen.simulator.url}/nowhere")
    frozen.simulator.advance(20)
    exported = records(frozen("export", sid, "--fetch", "--format", "json", "--output", "-"))
    (leg,) = exported[0]["legs"]
    assert (leg["sid"], leg["status"], leg["notifications"][0]["error_code"]) == (sid, "completed", "11200")
    page = frozen("export", sid, "--fetch", "--output", "-").out
    assert 'href="https://www.twilio.com/docs/api/errors/11200"' in page
    assert "found by polling" in page
    add_callback(store, sid, "ringing", at=NOON)
    frozen.later(minutes=1)
    known = frozen("export", sid, "--fetch", "--output", "-", now=lambda: NOON + timedelta(minutes=1)).out
    assert "no callback reported the end: the API did" in known


def test_what_the_api_does_not_have_is_said_once_and_the_rest_told(callctl: Callctl, home: Path) -> None:
    def answer(handler: Handler) -> None:
        status = 200 if "Calls.json" in handler.path else 404
        reply(status, {"calls": []} if status == 200 else {"code": 20404, "message": "gone"})(handler)

    def refuse(handler: Handler) -> None:
        is_page = "Notifications" in handler.path or "Calls.json" in handler.path
        sid = handler.path.partition("?")[0].removesuffix(".json").rpartition("/")[2]
        reply(403, {"code": 20403, "message": "no"})(handler) if is_page else reply(200, call(sid))(handler)

    account = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32}
    for turn, words in ((answer, ""), (refuse, f"exported without errors and warnings of {ONE}, {TWO}, {THREE}: ")):
        with Server(turn) as server:
            env = {**account, "CALLCTL_API_URL": server.url}
            with store_at(home, env) as store:
                for sid in (ONE, TWO, THREE):
                    add_callback(store, sid, "ringing", at=NOON)
            outcome = callctl("export", ONE, TWO, THREE, "--fetch", "--output", "-", env=env)
        assert (outcome.code, "3 calls" in outcome.out) == (0, True), outcome.err
        assert words in outcome.err


@pytest.mark.parametrize("form", ["html", "mermaid", "csv", "json"])
@pytest.mark.parametrize("status", [{}, {"status": None}, {"status": 5}])
def test_a_named_call_of_which_the_api_sends_nonsense_is_an_error(
    callctl: Callctl, home: Path, form: str, status: dict[str, object]
) -> None:
    def answer(handler: Handler) -> None:
        pages: dict[str, object] = {"calls": [], "notifications": []}
        reply(200, pages if re.search("Calls.json|Notifications", handler.path) else {"sid": ONE} | status)(handler)

    with Server(answer) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        to = ("--fetch", "--format", form, "--output", "-")
        outcome = callctl("export", ONE, *to, env=env)
        assert (outcome.code, outcome.out) == (6, "")
        assert f"callctl: error: the API's answer about {ONE} makes no sense: the call has no status" in outcome.err
        with store_at(home, env) as store:
            add_callback(store, ONE, "ringing", at=NOON)
        stored = callctl("export", ONE, *to, env=env)
    assert (stored.code, ONE in stored.out) == (0, True)
    assert f"exported without what the API knows of {ONE}: the API's answer" in stored.err


def test_a_call_that_was_removed_meanwhile_keeps_no_other_from_being_exported(callctl: Callctl) -> None:
    def answer(handler: Handler) -> None:
        path = handler.path.partition("?")[0]
        sid = path.removesuffix(".json").rpartition("/")[2]
        if path.endswith("/Calls.json"):
            listed = [] if "ParentCallSid" in handler.path else [call(one) for one in (ONE, TWO, THREE)]
            reply(200, {"calls": listed, "next_page_uri": None})(handler)
        elif TWO in path:
            reply(404, {"code": 20404, "message": "gone", "status": 404})(handler)
        elif sid in (ONE, THREE):
            reply(200, call(sid))(handler)
        else:
            reply(200, {"notifications": [], "events": [], "recordings": [], "next_page_uri": None})(handler)

    with Server(answer) as server:
        account = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32}
        env = {**account, "CALLCTL_API_URL": server.url}
        arguments = ("--fetch", "--format", "json", "--output", "-")
        outcome = callctl("export", "--since", "2020-01-01", *arguments, env=env)
        assert [record["sid"] for record in records(outcome)] == [ONE, THREE]
        assert f"exported without {TWO}: gone" in outcome.err
        assert callctl("export", ONE, TWO, *arguments, env=env).code == 3


def test_calls_that_rest_alone_knows_are_found_by_filters(frozen: Frozen, recorded: SqliteStore) -> None:
    del recorded
    parent = frozen.place(ANSWERS, "--dial", "sip:agent@example.com")
    frozen.simulator.advance(5)
    child = frozen.sids("--parent", parent)[0]
    exported = records(
        frozen("export", "--to", "sip:agent@example.com", "--fetch", "--format", "json", "--output", "-")
    )
    assert [record["sid"] for record in exported] == [ONE, parent]
    assert [leg["sid"] for leg in exported[1]["legs"]] == [parent, child]
    named = records(frozen("export", child[:12], "--fetch", "--format", "json", "--output", "-"))
    assert [record["sid"] for record in named] == [parent]


def test_a_call_that_nobody_knows(frozen: Frozen, recorded: SqliteStore) -> None:
    del recorded
    unknown = "CA" + "9" * 32
    outcome = frozen("export", unknown)
    assert (outcome.code, outcome.out) == (3, "")
    assert f"callctl: error: no callback of {unknown} is stored here\nhint: --fetch gets what the API" in outcome.err
    fetched = frozen("export", unknown, "--fetch")
    assert (fetched.code, fetched.out, "20404" in fetched.err) == (3, "", True)
    start = frozen("export", unknown[:12])
    assert (start.code, f"no call begins with {unknown[:12]}" in start.err) == (3, True)


def test_without_a_store_it_says_what_to_do(frozen: Frozen) -> None:
    outcome = frozen("export", "--since", "1h")
    assert (outcome.code, outcome.out) == (1, "")
    assert "hint: `callctl watch` and `callctl listen` keep one; --fetch queries the API" in outcome.err
    assert frozen("export", ONE).code == 3
    sid = frozen.place(BUSY, "--say", LONG)
    frozen.simulator.advance(5)
    exported = records(frozen("export", "--since", "2026-01-05", "--fetch", "--format", "json", "--output", "-"))
    assert [record["sid"] for record in exported] == [sid]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ([], "which calls?"),
        ([ONE, "--since", "1h"], "calls are named, and filters are given too"),
        ([ONE, "--format", "pdf"], "--format is html, mermaid, csv or json, not pdf"),
        ([ONE, "--output", ""], "--output names no file"),
        ([ONE, "--web", "--output", "-"], "--web opens a page, and none is written to a file"),
        ([ONE, "--web", "--format", "csv"], "--web opens a page, and none is written to a file"),
        ([ONE, "--limit", "0"], "greater than or equal to 1"),
        (["--since", "1"], "--since needs a unit"),
    ],
)
def test_what_makes_no_sense_is_refused(frozen: Frozen, args: list[str], error: str) -> None:
    outcome = frozen("export", *args)
    assert (outcome.code, outcome.out, error in outcome.err) == (2, "", True), outcome.err


def test_the_page_is_opened(frozen: Frozen, recorded: SqliteStore, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del recorded
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: not opened.append(url))  # type: ignore[func-returns-value]
    outcome = frozen("export", ONE, "--web")
    assert (outcome.code, outcome.out) == (0, f"callctl-{ONE}.html\n")
    assert opened == [(home / f"callctl-{ONE}.html").as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda _url: False)
    assert "no browser could be started; the page is" in frozen("export", ONE, "--web").err


def test_a_page_that_could_not_be_made_leaves_no_file(
    frozen: Frozen, recorded: SqliteStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del recorded

    def broken(_page: object) -> Iterator[str]:
        yield "<!doctype html>"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("callctl.reports.page.html", broken)
    outcome = frozen("export", ONE)
    assert (outcome.code, outcome.out) == (1, "")
    assert f"can't write callctl-{ONE}.html: No space left on device" in outcome.err
    assert not list(home.glob("callctl-*"))


def test_what_applications_did_not_take_is_said(frozen: Frozen, recorded: SqliteStore) -> None:
    for sid, url, why in ((ONE, "a", "HTTP 503"), (TWO, "a", "no answer"), (THREE, "b", "HTTP 500")):
        event = next(one for one in recorded.family(sid) if one.call_sid == sid)
        row = Undelivered(sid, event.key, f"http://127.0.0.1:1/{url}", event.received_at, why, timedelta())
        recorded.keep_undelivered([row], now=frozen.calendar.now)
    sentence = (
        "http://127.0.0.1:1/a has not taken 2 callbacks of these calls, the first because: HTTP 503. "
        "callctl replay --failed sends what is kept."
    )
    for args in ((ONE,), (ONE, "--format", "mermaid"), ("--since", "2026-01-05")):
        out = frozen("export", *args, "--output", "-").out
        assert html.unescape(out).count(sentence) == 1
        assert ("http://127.0.0.1:1/b has not taken 1 callback of" in out) == (ONE not in args)
