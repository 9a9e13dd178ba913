"""Passwords in URLs: sent to Twilio as they are, and neither shown nor kept."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli.setup import CliSetup
from processes import OnTerminal, Piped
from running import Callctl, Outcome, env_for

from callctl.cli.options.callback_url import RETRIES

URL = "https://ann:fake-word@example.com/survey"
SHOWN = "https://ann:***@example.com/survey"
SECRET = "fake-word"
TO = "+12025550103"


@pytest.fixture(autouse=True)
def whole_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the simulator's records hold what was sent as it was: without this they hold no credentials."""
    monkeypatch.setattr("callctl.simulator.records._safe_values", lambda form: form)


def shown(outcome: Outcome) -> str:
    """Return all that was written, having made sure that the password is not in it."""
    text = outcome.out + outcome.err
    assert SECRET not in text
    return text


def stored(home: Path) -> str:
    """Return the records of all actions in the local store."""
    with closing(sqlite3.connect(home / ".local/state/callctl/events.db")) as connection:
        return "\n".join(str(row[0]) for row in connection.execute("SELECT record FROM actions"))


@pytest.mark.parametrize("form", ["terminal", "pipe", "json"])
def test_a_redirect_sends_it_and_neither_shows_nor_keeps_it(setup: CliSetup, home: Path, form: str) -> None:
    parent, child = setup.dialled("--then", "survey")
    more = ["--json"] if form == "json" else []
    outcome = setup.callctl("redirect", child, "--url", URL, *more, terminal=form == "terminal")
    assert outcome.code == 0
    assert setup.sent()[-1].form["Url"] == (URL,)
    assert f"redirected to {SHOWN}: " in shown(outcome)
    assert f"hint: for the other leg: callctl redirect {parent} --url " in shown(outcome)
    if form == "json":
        assert json.loads(outcome.out)["request"] == {"Url": SHOWN}
    assert SHOWN in stored(home)
    assert SECRET not in stored(home)
    assert f"to {SHOWN}" in shown(setup.callctl("show", child))
    shown(setup.callctl("show", child, "--json"))


def test_a_quote_in_a_password_hides_none_of_it(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    url = f"https://ann:it's-{SECRET}@example.com/x"
    shown(setup.callctl("redirect", sid, "--url", url, "--dry-run"))
    for sign in '"<>':
        outcome = setup.callctl("redirect", sid, "--url", url.replace("'", sign), "--dry-run")
        assert outcome.code == 2
        shown(outcome)


def test_so_does_a_redirect_to_a_named_url_and_to_a_sip_phone(setup: CliSetup, home: Path) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("redirect", sid, "--url", "secret", "--json", env={"CALLCTL_URL_SECRET": URL})
    assert json.loads(outcome.out)["request"] == {"Url": SHOWN}
    document = f'<Response><Dial><Sip username="ann" password="{SECRET}">sip:a@example.com</Sip></Dial></Response>'
    outcome = setup.callctl("redirect", sid, "--twiml", document, "--json")
    assert setup.sent()[-1].form["Twiml"] == (document,)
    assert 'password=\\"***\\"' in shown(outcome)
    assert SECRET not in stored(home)


@pytest.mark.parametrize(
    ("args", "env"),
    [
        (["--say", "x", "--status-callback", "https://ann:fake-word@a_b.example.com/"], {}),
        (["--say", "x", "--status-callback", "ftp://ann:fake-word@example.com/"], {}),
        (["--say", "x"], {"CALLCTL_PUBLIC_URL": "https://ann:fake-word@10.0.0.1/"}),
        (["--say", "x"], {"CALLCTL_PUBLIC_URL": "https://ann:fake/word fake-word@example.com"}),
        (["--say", "x"], {"CALLCTL_URL_SURVEY": "ann:fake-word@example.com"}),
        (["--url", "https://fake-word@localhost/"], {}),
        (["--say", "x", "--fallback-url", "https://ann:fake-word@10.0.0.1/"], {}),
        (["--dial", "client:ann", "--then", "https://ann:fake-word@10.0.0.1/"], {}),
        (["--say", "x"], {"CALLCTL_API_URL": "https://ann:fake-word@example.com/"}),
    ],
)
@pytest.mark.parametrize("more", [[], ["--json"], ["--debug"]])
def test_no_complaint_shows_it(callctl: Callctl, args: list[str], env: dict[str, str], more: list[str]) -> None:
    account = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_FROM": "+15005550006"}
    outcome = callctl("place", TO, *args, *more, env={**account, **env})
    assert outcome.code == 2
    assert "error" in shown(outcome)


def test_what_place_says_of_callbacks_does_not_show_it(setup: CliSetup) -> None:
    env = {"CALLCTL_PUBLIC_URL": "http://ann:fake-word@127.0.0.1:9/x"}
    outcome = setup.callctl("place", TO, "--say", "Hello", env=env)
    assert "status callbacks go to CALLCTL_PUBLIC_URL (from the environment), http://ann:***@127.0.0.1:9/x\n" in shown(
        outcome
    )
    assert setup.simulator.requests[-1].form["StatusCallback"][0].startswith("http://ann:fake-word@127.0.0.1:9/x#")


def test_where_callbacks_go_by_a_file_that_was_found_is_said_with_its_name(setup: CliSetup) -> None:
    (setup.home / ".env").write_text("CALLCTL_PUBLIC_URL=http://127.0.0.1:9/x\n")
    outcome = setup.callctl("place", TO, "--say", "Hello")
    named = f"CALLCTL_PUBLIC_URL (in {setup.home / '.env'})"
    assert (
        f"callctl: no watch or listener is running; status callbacks go to {named}, http://127.0.0.1:9/x\n"
        in outcome.err
    )


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://fake-word@example.com/x", "https://***@example.com/x"),
        ("https://ann:fake-word@example.com", "https://ann:***@example.com"),
        ("https://ann:fake@word@example.com/a@b", "https://ann:***@example.com/a@b"),
        ("https://example.com/?to=sip:ann@example.com", "https://example.com/?to=sip:ann@example.com"),
    ],
)
def test_only_the_password_is_masked(setup: CliSetup, url: str, masked: str) -> None:
    outcome = setup.callctl("place", TO, "--url", url, "--dry-run", "--status-callback", "none")
    assert f"\nUrl={masked}\n" in outcome.out


PUBLIC = f"https://ann:{SECRET}@calls.example.com/status"
RETRIED = f"{PUBLIC}#{RETRIES}"
PASTED = [f"  StatusCallback={RETRIED}", f'  statusCallback="{RETRIED.replace("&", "&amp;")}"']
CLEAR = "These lines hold the public URL's password in clear; all else shows ***."
WATCH = ("watch", "--port", "0", "--no-poll", "--public-url", PUBLIC)


def test_a_watch_shows_it_in_the_lines_to_be_pasted_alone_and_says_so(setup: CliSetup, home: Path) -> None:
    (home / "survey.xml").write_text("<Response><Say>Hello</Say></Response>")
    env = env_for(setup.simulator)
    with Piped(*WATCH, "--json", "--serve", "survey=survey.xml", home=home, env=env) as watch:
        ready = watch.record()
        said = watch.until_said("statusCallbackMethod")
        health = watch.until_health(ready["health_url"], lambda health: health.get("reachable") is False)
    shown_url = PUBLIC.replace(SECRET, "***")
    assert (ready["callback_url"], health["callback_url"]) == (shown_url, shown_url)
    assert ready["documents"] == {"survey": "https://ann:***@calls.example.com/twiml/survey"}
    pasted = [*PASTED, f"  survey: https://ann:{SECRET}@calls.example.com/twiml/survey"]
    assert sorted(line for line in said.splitlines() if SECRET in line) == sorted(pasted)
    assert CLEAR in said
    assert SECRET not in json.dumps([ready, health])
    assert SECRET.encode() not in (home / ".local/state/callctl/events.db").read_bytes()


def test_nor_does_the_live_table_elsewhere(setup: CliSetup, home: Path) -> None:
    def is_whole(rows: list[str]) -> bool:
        # The header takes two rows once the self-test has failed, and all that is below moves down then.
        return (
            any("ann:***@calls" in row for row in rows[:2])
            and f" {CLEAR}" in rows
            and any("statusCallbackMethod" in row for row in rows)
            and [row.strip() for row in rows if SECRET in row] == [line.strip() for line in PASTED]
        )

    with OnTerminal(*WATCH, home=home, env=env_for(setup.simulator), columns=120, lines=40) as terminal:
        assert is_whole(terminal.until(is_whole))


def test_without_a_password_nothing_is_said_of_one(setup: CliSetup, home: Path) -> None:
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env_for(setup.simulator)) as watch:
        watch.record()
        assert "password" not in watch.until_said("statusCallbackMethod")


@pytest.mark.parametrize("option", ["--public-url", "--forward-to"])
@pytest.mark.parametrize("url", ["ann:fake-word@example.com", "ftp://ann:fake/word:fake-word@example.com"])
def test_what_is_no_address_of_a_watch_does_not_show_it(setup: CliSetup, option: str, url: str) -> None:
    outcome = setup.callctl("watch", "--no-poll", option, url)
    assert outcome.code == 2
    assert "example.com" in shown(outcome)


def test_a_variable_before_a_tunnels_command_does_not_show_it(setup: CliSetup) -> None:
    for command in ("watch", "listen"):
        outcome = setup.callctl(command, "--port", "0", "--tunnel", "NGROK_AUTHTOKEN=fake-word ngrok http {port}")
        assert outcome.code == 2
        assert "--tunnel begins with a variable, NGROK_AUTHTOKEN, and not with a command" in shown(outcome)


@pytest.mark.parametrize("command", ["watch", "listen"])
@pytest.mark.parametrize("json", [[], ["--json"]])
@pytest.mark.parametrize("given", ["http://ann:{}@127.0.0.1:{{port}}", "--authtoken {} {{port}}", "--authtoken '{}"])
def test_a_tunnels_command_does_not_show_it(setup: CliSetup, command: str, json: list[str], given: str) -> None:
    tunnel = f"/usr/bin/env false {given.format('fake-word')}"
    outcome = setup.callctl(command, "--port", "0", *json, "--tunnel", tunnel)
    assert outcome.code != 0
    assert "env" in shown(outcome)


SIP = f"sip:ann:{SECRET}@example.com"
SIP_SHOWN = "sip:ann:***@example.com"


@pytest.mark.parametrize("more", [[], ["--json"], ["--debug"], ["--dry-run"], ["--dry-run", "--json"]])
@pytest.mark.parametrize("terminal", [False, True])
def test_nor_is_one_of_a_sip_address_shown_that_is_called(setup: CliSetup, more: list[str], terminal: bool) -> None:
    for args in ([SIP, "--say", "Hello"], [TO, "--dial", SIP]):
        outcome = setup.callctl("place", *args, *more, "--status-callback", "none", terminal=terminal, columns=160)
        assert outcome.code == 0, outcome.err
        if "--dry-run" in more:
            assert SIP_SHOWN in shown(outcome)
            assert not setup.sent()
        else:
            shown(outcome)
            assert SIP in json.dumps(setup.simulator.requests[-1].form)


def test_nor_is_it_by_what_shows_and_changes_calls(setup: CliSetup, home: Path) -> None:
    sid = setup.place(SIP)
    for args in (["list"], ["list", "--json"], ["show", sid], ["show", sid, "--json"], ["list", "--to", SIP]):
        for terminal in (False, True):
            assert SIP_SHOWN in shown(setup.callctl(*args, terminal=terminal, columns=160))
    answered = setup.place(after=4)
    redirected = setup.callctl("redirect", answered, "--dial", SIP, "--json")
    assert redirected.code == 0
    assert SIP_SHOWN in shown(redirected)
    assert SIP_SHOWN in stored(home)
    assert SECRET not in stored(home)
    assert SIP_SHOWN in shown(setup.callctl("hangup", "--all", "--to", SIP, "--dry-run", terminal=True, columns=160))


@pytest.mark.parametrize(
    "args",
    [
        ["place", f"sip:ann:{SECRET}@@", "--say", "x"],
        ["place", TO, "--dial", f"sip:ann:it's {SECRET}@example.com"],
        ["place", TO, "--dial", "client:ann", "--from", f"SIPS:ann:{SECRET}@example.com"],
        ["list", "--to", f"sip:ann:fake@{SECRET}@example.com"],
    ],
)
def test_nor_is_it_by_a_complaint(callctl: Callctl, args: list[str]) -> None:
    account = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_FROM": "+15005550006"}
    for more in ([], ["--json"]):
        outcome = callctl(*args, *more, env=account)
        assert outcome.code == 2
        assert "error" in shown(outcome)


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_doctor_does_not_show_it(setup: CliSetup, scheme: str, more: list[str]) -> None:
    url = f"{scheme}{PUBLIC.removeprefix('https')}"
    outcome = setup.callctl("doctor", *more, env={"CALLCTL_PUBLIC_URL": url})
    assert url.replace(SECRET, "***") in shown(outcome)
