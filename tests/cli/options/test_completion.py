"""What the shell offers after Tab, asked the way shells ask."""

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from processes import environment

from callctl.calls.event import CallEvent
from callctl.cli.io.runtime import Runtime
from callctl.cli.main import app
from callctl.cli.options import completion
from callctl.settings import load
from callctl.store.sqlite.store import SqliteStore

ACCOUNT = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32}
LIVE, OVER = "CA" + "1" * 32, "CA" + "2" * 32


def offered(line: str, home: Path, env: Mapping[str, str] | None = None) -> list[str]:
    """Return what fish is offered for a command line, without the explanations."""
    return [row.split("\t")[0] for row in rows(line, home, env)]


def rows(line: str, home: Path, env: Mapping[str, str] | None = None) -> list[str]:
    completion = {
        "_CALLCTL_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-m", "callctl"],
        cwd=home,
        env={**environment(home), **completion, **(env or {})},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    return [row for row in done.stdout.splitlines() if row]


@pytest.fixture
def known(home: Path) -> Path:
    """Let the store know a live call and one that is over."""
    settings = load({"HOME": str(home), **ACCOUNT}, cwd=home)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    for sid, status in ((LIVE, "ringing"), (OVER, "busy")):
        form = [("CallSid", sid), ("CallStatus", status)]
        now = datetime(2026, 1, 5, tzinfo=UTC)
        store.append(CallEvent.from_form(form, received_at=now, world=settings.world, verified=True))
    store.close()
    return home


def test_commands_and_options(home: Path) -> None:
    assert offered("callctl re", home) == ["redirect", "replay"]
    assert "--older-than" in offered("callctl list --o", home)
    assert offered("callctl replay --kind t", home) == ["transcription", "twiml-request"]


@pytest.mark.parametrize(
    ("seconds", "age"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_a_call_is_offered_with_number_status_and_age(
    home: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, age: str
) -> None:
    began = datetime(2026, 1, 5, tzinfo=UTC)
    settings = load({"HOME": str(home), **ACCOUNT}, cwd=home)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    fields = {"To": "+12025550103", "From": "+15005550006", "Direction": "outbound-api"}
    for sid, status, more in (
        (LIVE, "ringing", fields),
        ("CA" + "3" * 32, "in-progress", {**fields, "Direction": "inbound"}),
        ("CA" + "4" * 32, "queued", {}),
    ):
        form = [("CallSid", sid), ("CallStatus", status), *more.items()]
        store.append(CallEvent.from_form(form, received_at=began, world=settings.world, verified=True))
    store.close()
    environ = {"HOME": str(home), **ACCOUNT}
    stream = io.StringIO()
    runtime = Runtime(environ, home, stream, stream, stream, now=lambda: began + timedelta(seconds=seconds))
    context = typer.Context(typer.main.get_command(app), obj=runtime)
    offered = {
        LIVE: f"+12025550103, ringing for {age}",
        "CA" + "3" * 32: f"+15005550006, in-progress for {age}",
        "CA" + "4" * 32: f"queued for {age}",
    }
    assert dict(completion.call_sids(context, "CA")) == offered
    listed = [f"{sid}  {described}" for sid, described in offered.items()]
    for kind, expected in (("63", listed), ("33", listed), ("9", list(offered)), ("37", list(offered))):
        environ[completion.LISTED_BY_BASH] = kind
        assert sorted(text for text, _ in completion.call_sids(context, "CA")) == sorted(expected)
    environ[completion.LISTED_BY_BASH] = "63"
    assert [text for text, _ in completion.call_sids(context, LIVE[:5])] == [LIVE]
    monkeypatch.setattr(completion, "_DESCRIBED", 2)  # of many, only what is at hand
    assert dict(completion.call_sids(context, "CA"))[f"{LIVE}  ringing"] == ""


@pytest.mark.parametrize("command", ["redirect", "hangup", "wait", "watch --call", "list --parent"])
def test_sids_of_live_calls_that_are_known_here(known: Path, command: str) -> None:
    assert offered(f"callctl {command} CA", known, ACCOUNT) == [LIVE]


@pytest.mark.parametrize("command", ["show", "export", "replay"])
def test_sids_of_calls_that_have_ended_too_for_who_looks_at_what_happened(known: Path, command: str) -> None:
    assert offered(f"callctl {command} CA", known, ACCOUNT) == [LIVE, OVER]


def test_a_few_calls_that_have_ended_are_offered_the_latest_first_and_older_ones_by_more_of_their_sid(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "_MOST_ENDED", 2)
    monkeypatch.setattr(completion, "_LATEST", 3)
    began = datetime(2026, 1, 5, tzinfo=UTC)
    settings = load({"HOME": str(home), **ACCOUNT}, cwd=home)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    ended = [f"CA{number:04}" + "0" * 28 for number in range(5)]
    for number, sid in enumerate([*ended, LIVE]):
        form = [("CallSid", sid), ("CallStatus", "ringing" if sid == LIVE else "busy"), ("To", "+12025550102")]
        at = began + timedelta(minutes=number)
        store.append(CallEvent.from_form(form, received_at=at, world=settings.world, verified=True))
    store.close()
    stream = io.StringIO()
    now = began + timedelta(minutes=10)
    runtime = Runtime({"HOME": str(home), **ACCOUNT}, home, stream, stream, stream, now=lambda: now)
    context = typer.Context(typer.main.get_command(app), obj=runtime)
    live = (LIVE, "+12025550102, ringing for 5 min")
    latest = [(ended[4], "busy 6 min ago"), (ended[3], "busy 7 min ago")]
    assert completion.past_call_sids(context, "") == [live, *latest]
    assert completion.past_call_sids(context, "CA0") == latest
    assert completion.past_call_sids(context, "CA0000") == [(ended[0], "busy 10 min ago")]
    assert completion.past_call_sids(context, "CA9") == []


def test_the_last_call_is_offered_and_no_call_of_another_account(known: Path) -> None:
    assert offered("callctl show @", known, ACCOUNT) == ["@last"]
    assert offered("callctl show CA", known, {**ACCOUNT, "TWILIO_ACCOUNT_SID": "AC" + "1" * 32}) == []


def test_the_forms_of_a_report(home: Path) -> None:
    assert offered("callctl export @last --format ", home) == ["html", "mermaid", "csv", "json"]
    assert offered("callctl export @last --format m", home) == ["mermaid"]


def test_the_settings_file_on_the_line_counts(known: Path) -> None:
    (known / "other.env").write_text("\n".join(f"{name}={value}" for name, value in ACCOUNT.items()))
    assert offered("callctl hangup --env-file other.env CA", known) == [LIVE]
    assert offered("callctl hangup --env-file missing.env CA", known) == []


@pytest.mark.parametrize("command", ["place +12025550100 --url", "redirect CAx --url", "place +12025550100 --then"])
def test_names_of_urls(home: Path, command: str) -> None:
    env = {"CALLCTL_URL_SURVEY": "https://example.com/survey", "CALLCTL_URL_AFTER_HOURS": "https://example.com/late"}
    assert offered(f"callctl {command} ", home, env) == ["after-hours", "survey"]


def test_the_explanation_of_a_name_shows_no_password(home: Path) -> None:
    env = {"CALLCTL_URL_SURVEY": "https://ann:fake-word@example.com/survey"}
    (row,) = rows("callctl redirect CAx --url ", home, env)
    assert row.startswith("survey\thttps://ann:")
    assert row.endswith("@example.com/survey")
    assert "fake-word" not in row


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_the_number_beside_a_call_shows_no_password(home: Path, shell: str) -> None:
    settings = load({"HOME": str(home), **ACCOUNT}, cwd=home)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    for sid in (LIVE, "CA" + "3" * 32):
        form = [("CallSid", sid), ("CallStatus", "ringing"), ("To", "sip:ann:fake-word@example.com")]
        store.append(CallEvent.from_form(form, received_at=datetime.now(UTC), world=settings.world, verified=True))
    store.close()
    in_bash = {"COMP_WORDS": "callctl hangup ", "COMP_CWORD": "2", completion.LISTED_BY_BASH: "63"}
    row = rows("callctl hangup ", home, {"_CALLCTL_COMPLETE": f"complete_{shell}", **in_bash, **ACCOUNT})[0]
    assert "ann" in row
    assert "fake-word" not in row


def test_what_was_begun_is_gone_on_with(home: Path) -> None:
    env = {"CALLCTL_URL_SURVEY": "https://example.com/survey", "CALLCTL_URL_AFTER_HOURS": "https://example.com/late"}
    assert offered("callctl redirect CAx --url s", home, env) == ["survey"]


def test_names_of_events_also_after_a_comma(home: Path) -> None:
    place = "callctl place +12025550100 --event"
    assert offered(f"{place} a", home) == ["answered"]
    assert offered(f"{place} ringing,c", home) == ["ringing,completed"]


def test_fields_after_a_comma_without_those_that_stand_there(home: Path) -> None:
    assert offered("callctl list --columns sid,sta", home) == ["sid,status", "sid,start_time"]
    assert offered("callctl show --columns sid,s", home) == ["sid,status", "sid,start_time"]


def test_statuses_and_what_can_be_waited_for(home: Path) -> None:
    assert offered("callctl list --status b", home) == ["busy"]
    assert offered("callctl hangup --status q", home) == ["queued"]
    assert offered("callctl wait CAx --for a", home) == ["answered"]


def test_a_broken_store_or_file_offers_nothing_and_says_nothing(home: Path) -> None:
    broken = home / "events.db"
    broken.write_text("no database " * 1000)
    assert offered("callctl show CA", home, {**ACCOUNT, "CALLCTL_STORE": os.fspath(broken)}) == []
    assert offered("callctl show CA", home, {"CALLCTL_PORT": "none"}) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(home: Path, shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "callctl", "--show-completion", shell],
        env={**environment(home), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "_CALLCTL_COMPLETE" in done.stdout


def test_only_harmless_characters_are_offered(home: Path) -> None:
    env = {"CALLCTL_URL_SURVEY": "https://example.com/\\$(date)`", "CALLCTL_URL_S$(date)": "https://example.com/"}
    assert rows("callctl redirect CAx --url s", home, env) == ["survey\thttps://example.com/??(date)?"]
