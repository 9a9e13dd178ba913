"""``callctl replay``: which stored callbacks are sent where, and what it says of them."""

from __future__ import annotations

import json
import re
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api.scripted import Handler, Server, reply
from cli.golden_files import check_golden
from events import ACCOUNT, form, moment, sid
from paths import TESTS
from processes import LIMIT, Piped
from running import Callctl, Outcome, env_for
from services import Service
from twilio.request_validator import RequestValidator
from web_site import closed_port

from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.doctor.files import undelivered_findings
from callctl.settings import Settings, load
from callctl.simulator import Simulator
from callctl.store.event_store import EventStore
from callctl.store.opening import open_existing, open_store
from callctl.store.records import Undelivered

TOKEN = "a-token-of-tests"
NOW = moment(3600)
# What a replay of the evening sends, in its order.
EVENING = [
    *("1 ringing", "2 ringing", "1 in-progress", "3 ringing", "2 busy", "1 completed", "1 completed"),
]
ENV = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "CALLCTL_API_URL": "http://127.0.0.1:9"}


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def settings(home: Path) -> Settings:
    return load({"HOME": str(home), **ENV}, cwd=home)


def stored(settings: Settings, *events: CallEvent) -> None:
    with closing(open_store(settings)) as store:
        for event in events:
            assert store.append(event)


def callback(settings: Settings, call: int, status: str, *, at: float, verified: bool = True, **more: str) -> CallEvent:
    fields = form(call, status, at=at) | more
    return CallEvent.from_form(fields.items(), received_at=moment(at + 0.5), world=settings.world, verified=verified)


@pytest.fixture
def evening(settings: Settings) -> None:
    """Two calls, one of which dials another phone, a recording, a poll, and a callback that nobody signed."""
    recording = {"CallSid": sid(1), "RecordingSid": "RE1", "RecordingStatus": "completed", "AccountSid": ACCOUNT}
    polled = Call.from_resource({"sid": sid(4), "status": "completed", "from": "+12025550100", "to": "+12025550101"})
    twiml = form(1, "in-progress", at=3) | {"ApiVersion": "2010-04-01", "Direction": "inbound"}
    del twiml["CallbackSource"]
    stored(
        settings,
        callback(settings, 1, "ringing", at=0),
        callback(settings, 2, "ringing", at=1, From="+12025550107"),
        callback(settings, 1, "in-progress", at=2),
        CallEvent.from_form(twiml.items(), received_at=moment(3), world=settings.world, verified=True),
        callback(settings, 3, "ringing", at=4, ParentCallSid=sid(1), Direction="outbound-dial"),
        callback(settings, 2, "busy", at=30, From="+12025550107"),
        callback(settings, 1, "completed", at=40),
        CallEvent.from_form(recording.items(), received_at=moment(45), world=settings.world, verified=True),
        CallEvent.from_call(polled, received_at=moment(50), world=settings.world),
        callback(settings, 5, "ringing", at=60, verified=False),
    )


def reported(server: Server) -> list[str]:
    """Return the calls' numbers and what each request reported, in the order in which they came."""
    fields = [dict(request.form) for request in server.received]
    return [f"{int(one['CallSid'][2:])} {one.get('CallStatus') or one['RecordingStatus']}" for one in fields]


Replaying = Callable[..., Outcome]


@pytest.fixture
def replay(callctl: Callctl) -> Replaying:
    def replay(*args: str, **more: object) -> Outcome:
        return callctl("replay", *args, env=ENV, now=lambda: NOW, **more)  # type: ignore[arg-type]

    return replay


@pytest.mark.usefixtures("evening")
@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ([sid(1)], ["1 ringing", "1 in-progress", "1 completed", "1 completed"]),
        ([sid(1)[:30], "--family"], []),  # several begin so
        ([sid(1), "--family"], ["1 ringing", "1 in-progress", "3 ringing", "1 completed", "1 completed"]),
        ([sid(2), sid(1), "--kind", "callback"], ["1 ringing", "2 ringing", "1 in-progress", "2 busy", "1 completed"]),
        (["--since", "2h"], EVENING),
        (["--since", "2026-11-23T10:00:30Z"], ["2 busy", "1 completed", "1 completed"]),
        (["--since", "2h", "--until", "2026-11-23T10:00:02Z"], ["1 ringing", "2 ringing"]),
        (["--since", "2h", "--status", "busy"], ["2 ringing", "2 busy"]),
        (["--since", "2h", "--from", "+12025550107"], ["2 ringing", "2 busy"]),
        (["--since", "2h", "--kind", "recording"], ["1 completed"]),
        (["--since", "2h", "--kind", "twiml-request,amd"], ["1 in-progress"]),
        ([sid(5), "--unverified"], ["5 ringing"]),
        ([sid(5)], []),
        ([sid(4)], []),
    ],
)  # fmt: skip
def test_what_was_asked_for_is_sent_in_the_order_of_then(
    replay: Replaying, chosen: list[str], expected: list[str]
) -> None:
    with Server(reply(204)) as application:
        outcome = replay(*chosen, "--to", f"{application.url}/status", "--at-once")
        assert reported(application) == expected
    assert outcome.code == (2 if chosen[0] == sid(1)[:30] else 0)
    assert outcome.out.count("\n") == len(expected)
    assert (
        ("1 callback left out that came unverified" in outcome.err)
        == (chosen == [sid(5)] or (chosen[:2] == ["--since", "2h"] and len(chosen) == 2))
        or "--status" in chosen
        or "--since" in chosen
    )


@pytest.mark.parametrize("chosen", [[sid(1)], [sid(1), "--family"], ["--since", "2h"]])
def test_the_order_is_the_stores_where_the_clock_was_set_back_in_between(
    replay: Replaying, settings: Settings, chosen: list[str]
) -> None:
    steps = [("ringing", 60), ("in-progress", 61), ("completed", 3)]
    stored(settings, *(callback(settings, 1, status, at=at) for status, at in steps))
    outcome = replay(*chosen, "--to", "http://127.0.0.1:9/", "--dry-run")
    assert [row.split("\t")[2] for row in outcome.out.splitlines()] == ["ringing", "answered", "completed"]


@pytest.mark.usefixtures("evening")
def test_the_sdk_takes_each_for_twilios_and_the_exit_code_says_that_all_were_taken(replay: Replaying) -> None:
    with Server(reply(200)) as application:
        url = f"{application.url}/status?tenant=3"
        assert replay("--since", "2h", "--to", url, "--speed", "100000").code == 0
        for request in application.received:
            assert RequestValidator(TOKEN).validate(url, dict(request.form), request.headers["X-Twilio-Signature"])


@pytest.mark.usefixtures("evening")
@pytest.mark.parametrize("shape", ["terminal", "pipe", "json"])
def test_what_it_says(replay: Replaying, shape: str) -> None:
    more = ["--json"] if shape == "json" else []
    with Server(reply(204), reply(500), reply(404), reply(204)) as application:
        for name, options in (("replay", []), ("replay_dry_run", ["--dry-run", "--speed", "10"])):
            speed = [] if options else ["--at-once"]
            outcome = replay(
                "--since",
                "2h",
                "--to",
                f"{application.url}/status",
                *speed,
                *options,
                *more,
                terminal=shape == "terminal",
            )
            text = f"{outcome.out}--- stderr, exit code {outcome.code}\n{outcome.err}"
            text = re.sub(r"in \d+ ms", "in 3 ms", text.replace(application.url, "http://127.0.0.1:5000"))
            text = re.sub(r'"seconds": [0-9.]+', '"seconds": 0.003', text)
            text = re.sub(r"\t(\d+)\t0\.\d\d\d\t", r"\t\1\t0.003\t", text)
            check_golden(text, name=name, form=shape)
        assert len(application.received) == 7  # and none for the dry run


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["--to", "http://127.0.0.1:1/"], "which callbacks?"),
        ([sid(1)], "to which URL?"),
        ([sid(1), "--to", "https://example.com/status"], "is not on this machine"),
        ([sid(1), "--to", "http://127.0.0.1.example.com/status"], "is not on this machine"),
        ([sid(1), "--to", "+12025550100"], "is not an http or https address"),
        ([sid(1), "--to", "http://127.0.0.1:1/", "--speed", "0"], "--speed is out of range"),
        ([sid(1), "--to", "http://127.0.0.1:1/", "--speed", "2", "--at-once"], "exclude each other"),
        ([sid(1), "--to", "http://127.0.0.1:1/", "--kind", "polled"], "no such kind of callback: polled"),
        ([sid(1), "--to", "https://example.com/", "--allow-remote", "--insecure"], "--insecure is for"),
        ([sid(1), "--to", "http://127.0.0.1:1/", "--sign-for", "x"], "--sign-for is not an http or https address"),
    ],
)
@pytest.mark.usefixtures("evening")
def test_what_makes_no_sense_is_refused_and_nothing_is_sent(replay: Replaying, args: list[str], what: str) -> None:
    outcome = replay(*args)
    assert (outcome.code, outcome.out) == (2, "")
    assert what in outcome.err


@pytest.mark.usefixtures("evening")
def test_a_call_that_is_not_stored_is_not_found_and_without_a_token_nothing_can_be_signed(
    replay: Replaying, callctl: Callctl
) -> None:
    outcome = replay(sid(99), "--to", "http://127.0.0.1:1/")
    assert outcome.code == 3
    assert f"has no events of {sid(99)}" in outcome.err
    env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "CALLCTL_API_URL": ENV["CALLCTL_API_URL"]}
    assert "TWILIO_AUTH_TOKEN" in callctl("replay", sid(1), "--to", "http://127.0.0.1:1/", env=env).err


def test_where_no_store_is_that_is_said(replay: Replaying) -> None:
    outcome = replay("--since", "1h", "--to", "http://127.0.0.1:1/")
    assert outcome.code == 1
    assert "there is no event store" in outcome.err


@pytest.mark.usefixtures("evening")
def test_of_none_that_match_that_is_said_and_sids_come_from_a_pipe(replay: Replaying) -> None:
    none = replay("--since", "1m", "--to", "http://127.0.0.1:1/")
    assert (none.code, none.out) == (0, "")
    assert "no stored callbacks match" in none.err
    with Server(reply(204)) as application:
        assert replay("-", "--to", application.url, "--at-once", stdin=f"{sid(2)}\tbusy\n").code == 0
        assert reported(application) == ["2 ringing", "2 busy"]


@pytest.mark.usefixtures("evening")
def test_over_tls_the_certificate_counts_unless_any_is_accepted(replay: Replaying) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TESTS / "api" / "certificate.pem", TESTS / "api" / "key.pem")
    with Server(reply(204), context=context) as application:
        to = ("--to", f"{application.url}/status", "--at-once", "--json")
        refused = replay(sid(2), *to)
        assert refused.code == 8
        assert "its certificate is not accepted" in json.loads(refused.out.splitlines()[0])["reason"]
        assert replay(sid(2), *to, "--insecure").code == 0
        assert reported(application) == ["2 ringing", "2 busy"]


@pytest.mark.usefixtures("evening")
def test_a_listener_of_callctl_is_not_an_application(callctl: Callctl, home: Path) -> None:
    with Service(home=home, env=ENV) as service:
        url = f"http://127.0.0.1:{service.port}/status"
        outcome = callctl("replay", sid(2), "--to", url, "--at-once", env=ENV)
        assert outcome.code == 8
        assert "is a listener of callctl, which takes no replays" in outcome.err
        assert service.metrics()['callctl_refusals_total{cause="replay"}'] == 2
        assert service.metrics()["callctl_duplicates_total"] == 0


@pytest.mark.usefixtures("evening")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_a_gap_that_it_has_announced(home: Path, sent: signal.Signals) -> None:
    with Server(reply(204)) as application:
        with Piped("replay", sid(1), "--to", application.url, "--speed", "2", home=home, env=ENV) as process:
            assert "the next one came at 10:00:40Z, and is sent in " in process.until_said("--at-once is faster")
            assert process.interrupt(sent) == 130
            assert "stopped after 2 callbacks" in process.until_said("stopped after")
        assert reported(application) == ["1 ringing", "1 in-progress"]


def by_call(server: Server) -> dict[str, list[list[tuple[str, str]]]]:
    """Return the forms that came, by call."""
    calls: dict[str, list[list[tuple[str, str]]]] = {}
    for request in server.received:
        calls.setdefault(dict(request.form)["CallSid"], []).append(request.form)
    return calls


def test_an_application_gets_the_callbacks_of_last_night_again(
    callctl: Callctl, home: Path, fast_simulator: Simulator
) -> None:
    """Of each call the very forms in their order, as it got them that night, and as Twilio's library accepts them."""
    env = env_for(fast_simulator)
    with Server(reply(204)) as then, Service("--forward-to", f"{then.url}/status", home=home, env=env) as service:
        assert service.ready
        for to in ("+12025550100", "+12025550102"):
            assert callctl("place", to, "--dial", "+12025550105", env=env).code == 0
        ended = ("completed", "busy", "failed", "no-answer", "canceled")
        service.until(lambda: sum(dict(one.form)["CallStatus"] in ended for one in then.received) == 3)
        assert service.terminate() == 0
    with Server(reply(204)) as application:
        url = f"{application.url}/callbacks"
        outcome = callctl("replay", "--since", "12h", "--to", url, "--speed", "50", env=env)
        assert outcome.code == 0
        assert by_call(application) == by_call(then)
        assert len(by_call(then)) == 3
        check = RequestValidator(fast_simulator.auth_token).validate
        assert all(check(url, dict(one.form), one.headers["X-Twilio-Signature"]) for one in application.received)


# What failed


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request: pytest.FixtureRequest, home: Path, simulator: Simulator) -> tuple[dict[str, str], Settings]:
    """Return the environment and the settings of a store of either kind."""
    env = env_for(simulator)
    if request.param == "postgresql":
        env |= {"CALLCTL_STORE": request.getfixturevalue("shared_store")}
    return env, load({"HOME": str(home), **env}, cwd=home)


def opened(settings: Settings) -> EventStore:
    store = open_existing(settings)
    assert store is not None
    return store


def kept(settings: Settings) -> list[tuple[Undelivered, CallEvent]]:
    with closing(opened(settings)) as store:
        return store.undelivered(now=datetime.now(UTC))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_what_was_not_passed_on_when_a_listener_ended_is_sent_later_and_forgotten(
    callctl: Callctl, home: Path, simulator: Simulator, anywhere: tuple[dict[str, str], Settings], sent: signal.Signals
) -> None:
    env, settings = anywhere
    with closed_port() as port, Service("--forward-to", f"http://127.0.0.1:{port}/app", home=home, env=env) as service:
        for number, status in enumerate(("ringing", "in-progress", "completed")):
            assert service.send(simulator, form(1, status, number=number)) == 204
        assert service.send(simulator, form(2, "ringing")) == 204
        assert service.records("trouble")[0]["reason"] == "can't connect (Connection refused)"
        assert service.metrics()["callctl_forward_waiting"] == 4
        assert (service.terminate() if sent == signal.SIGTERM else service.interrupt()) in (0, 130)
    assert all(not row.tried_for for row, _ in kept(settings))
    remote = callctl("replay", "--failed", "--dry-run", "--json", env=env)
    records = [json.loads(line) for line in remote.out.splitlines()]
    assert [record["event"] for record in records if record["call_sid"] == sid(1)] == [
        "ringing",
        "answered",
        "completed",
    ]
    assert {record["url"] for record in records} == {f"http://127.0.0.1:{port}/app"}
    with Server(reply(503), reply(204)) as application:
        first = callctl("replay", "--failed", "--to", application.url, env=env)
        assert first.code == 8
        assert "1 of 4 callbacks refused or not answered" in first.err
        assert [event.status for _, event in kept(settings)] == ["ringing"]
        assert callctl("replay", "--failed", sid(3), "--to", application.url, env=env).code == 3
        assert callctl("replay", "--failed", "--status", "busy", "--to", application.url, env=env).out == ""
        assert callctl("replay", "--failed", "--to", application.url, env=env).code == 0
        assert len(application.received) == 5
    assert kept(settings) == []
    assert "no stored callbacks match" in callctl("replay", "--failed", env=env).err


def test_what_waited_when_a_listener_was_killed_is_there(
    callctl: Callctl, home: Path, simulator: Simulator, anywhere: tuple[dict[str, str], Settings]
) -> None:
    env, settings = anywhere

    def hold(handler: Handler) -> None:
        handler.server.released.wait(LIMIT)
        handler.answer(204, b"", {})

    with Server(hold) as application, Service("--forward-to", application.url, home=home, env=env) as service:
        for number in range(20):
            assert service.send(simulator, form(number, "ringing")) == 204
        service.until(lambda: len(kept(settings)) == 20)
        service.kill()
        outcome = callctl("replay", "--failed", env=env)
        assert outcome.code == 0
        assert re.search(
            r"20 callbacks left out that a listener still tries to pass on, for \d+ s at most", outcome.err
        )
        with Server(reply(204)) as another:
            later = datetime.now(UTC) + timedelta(minutes=6)
            if not settings.store_url:  # else it is by the server's clock
                assert callctl("replay", "--failed", "--to", another.url, env=env, now=lambda: later).code == 0
                assert {dict(request.form)["CallSid"] for request in another.received} == {sid(n) for n in range(20)}
                assert kept(settings) == []


def keep(settings: Settings, *urls: str) -> None:
    """Keep one callback that was to go to these URLs."""
    one = callback(settings, 1, "ringing", at=0)
    stored(settings, one)
    with closing(opened(settings)) as store:
        row = Undelivered(one.call_sid, one.key, "", one.received_at, "no answer", timedelta())
        store.keep_undelivered([row._replace(url=url) for url in urls], now=NOW)


def urls_kept(settings: Settings) -> list[str]:
    return [row.url for row, _ in kept(settings)]


@pytest.mark.parametrize(
    "url", ["http://ann:***@127.0.0.1:1/", "http://127.0.0.1:1/cb?next=https%3A%2F%2Fann%3A***%40example.com"]
)
def test_a_password_is_not_kept_so_the_url_is_to_be_given(replay: Replaying, settings: Settings, url: str) -> None:
    keep(settings, url)
    outcome = replay("--failed")
    assert outcome.code == 2
    assert f"the password in {url} is not stored" in outcome.err
    with Server(reply(204)) as application:
        outcome = replay("--failed", "--to", application.url)
        assert outcome.code == 0
        assert f"--to replaces {url}" in outcome.err
        assert len(application.received) == 1
    assert kept(settings) == []


def test_what_has_a_whole_url_is_sent_and_the_rest_is_named_and_stays_kept(
    replay: Replaying, settings: Settings
) -> None:
    lost = "http://ann:***@127.0.0.1:1/crm"
    unsent = f"1 callback not sent: the password in {lost} is not stored"
    with Server(reply(503), reply(204)) as application:
        keep(settings, lost, f"{application.url}/audit")
        preview = replay("--failed", "--dry-run")
        assert (preview.code, preview.out.count("\n")) == (8, 1)
        assert unsent in preview.err
        refused = replay("--failed")
        assert refused.code == 8
        assert f"1 of 1 callback refused or not answered; {unsent}" in refused.err
        sent = replay("--failed")
        assert sent.code == 8
        assert f"error: {unsent}\nhint: --to names the whole URL" in sent.err
        assert [request.target for request in application.received] == ["/audit"] * 2
    assert urls_kept(settings) == [lost]


@pytest.mark.parametrize(
    ("urls", "to", "sent"),
    [
        (["http://HOST/crm", "http://127.0.0.1:1/audit"], "http://HOST/crm", 0),
        (["http://127.0.0.1:1/audit", "http://HOST/crm?order=17"], "http://HOST/crm", 1),
        (["http://ann:***@HOST/crm", "http://127.0.0.1:1/audit"], "http://ann:secret@HOST/crm", 0),
        (["http://ann:***@HOST/crm", "http://127.0.0.1:1/audit"], "http://HOST/crm", 0),
        (["http://ann:***@HOST/crm", "http://bob:***@HOST/crm"], "http://bob:secret@HOST/crm", 1),
        (["http://ann:***@HOST/crm", "http://HOST/crm"], "http://HOST/crm", 1),
        (["http://HOST/crm?tenant=7", "http://HOST/crm?tenant=8&order=17"], "http://HOST/crm?tenant=8", 1),
        (["http://HOST", "http://127.0.0.1:1/"], "http://HOST/", 0),
        (["http://127.0.0.1:1/crm?order=17"], "http://HOST/crm", 0),
        (["http://127.0.0.1:1/crm", "http://127.0.0.1:1/audit"], "http://HOST/crm", None),
        (["http://ann:***@127.0.0.1:1/crm", "http://bob:***@127.0.0.1:1/crm"], "http://HOST/crm", None),
        (["http://HOST/crm?tenant=7", "http://HOST/crm?tenant=8"], "http://HOST/crm", None),
        (["http://HOST/crm?tenant=7", "http://HOST/crm?tenant=8"], "http://HOST/crm?tenant=9", None),
    ],
)
def test_of_several_urls_the_one_is_chosen_that_is_given_and_the_rest_stays_kept(
    replay: Replaying, settings: Settings, urls: list[str], to: str, sent: int | None
) -> None:
    with Server(reply(204)) as application:
        host = application.url.removeprefix("http://")
        urls = [url.replace("HOST", host) for url in urls]
        keep(settings, *urls)
        outcome = replay("--failed", "--to", to.replace("HOST", host))
        assert len(application.received) == (0 if sent is None else 1)
    left = [url for number, url in enumerate(urls) if number != sent]
    assert sorted(urls_kept(settings)) == sorted(left)
    assert all(url in outcome.err for url in left)
    if sent is None:
        assert outcome.code == 2
        assert "they were to go to several URLs, and --to does not say which is meant" in outcome.err
    else:
        assert outcome.code == 0
        assert ("1 callback left out that were to go to" in outcome.err) == bool(left)


def test_a_request_for_twiml_that_failed_is_sent_too(replay: Replaying, settings: Settings) -> None:
    """Where it was to go is known of it, and else it stays kept for ever, unless one thinks of --kind."""
    fields = form(1, "ringing", at=0) | {"ApiVersion": "2010-04-01", "Direction": "inbound"}
    del fields["CallbackSource"]
    request = CallEvent.from_form(fields.items(), received_at=moment(0.5), world=settings.world, verified=True)
    assert request.kind == "twiml-request"
    stored(settings, request)
    with Server(reply(204)) as application:
        with closing(opened(settings)) as store:
            row = Undelivered(
                request.call_sid, request.key, application.url, request.received_at, "no answer", timedelta()
            )
            store.keep_undelivered([row], now=NOW)
        assert replay("--failed", "--kind", "callback").code == 0
        assert len(kept(settings)) == 1
        assert replay("--failed").code == 0
        assert len(application.received) == 1
    assert kept(settings) == []


def test_what_was_to_go_to_another_machine_needs_a_word(replay: Replaying, settings: Settings) -> None:
    one = callback(settings, 1, "ringing", at=0)
    stored(settings, one)
    with closing(opened(settings)) as store:
        row = Undelivered(one.call_sid, one.key, "https://example.com/x", one.received_at, "no answer", timedelta())
        store.keep_undelivered([row], now=NOW)
    outcome = replay("--failed")
    assert outcome.code == 2
    assert "where it was to go is not on this machine: https://example.com/x" in outcome.err


def test_nothing_goes_to_a_url_that_is_in_the_store_of_a_found_file(
    callctl: Callctl, settings: Settings, tmp_path: Path
) -> None:
    """It may be a cloned repository's, and the signature is as good as Twilio's."""
    (folder := tmp_path / "cloned").mkdir()
    (folder / ".env").write_text("CALLCTL_STORE=events.db\n")
    found = load({"HOME": str(tmp_path), **ENV}, cwd=folder)
    assert found.store == folder / "events.db"
    one = callback(settings, 1, "ringing", at=0)
    stored(found, one)
    with Server(reply(204)) as theirs, Server(reply(204)) as own:
        row = Undelivered(one.call_sid, one.key, f"{theirs.url}/x", one.received_at, "no answer", timedelta())
        with closing(opened(found)) as store:
            store.keep_undelivered([row], now=NOW)

        def replay(*args: str) -> Outcome:
            return callctl("replay", "--failed", *args, env=ENV, cwd=folder, now=lambda: NOW)

        refused = replay()
        assert refused.code == 2
        assert f"{folder / '.env'} names the store, and was found, not named" in refused.err
        assert "--to names your application, --env-file a file that you trust" in refused.err
        assert f"{theirs.url}/x" in replay("--dry-run").out
        (finding,) = undelivered_findings(found, now=lambda: NOW)
        assert finding.fix == "callctl replay --failed --to URL"
        assert theirs.received == []
        assert replay("--to", own.url).code == 0
        assert len(own.received) == 1
        with closing(opened(found)) as store:
            store.keep_undelivered([row], now=NOW)
        assert replay("--env-file", ".env").code == 0
        assert len(theirs.received) == 1
