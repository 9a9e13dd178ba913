"""Every error to its exit code and its words: what servers say and don't say, and each kind of error of ours."""

from __future__ import annotations

import ast
import inspect
import io
import json
import time
from pathlib import Path

import pytest
from api.scripted import Server, Turn, call, cut, drop, hang, reply
from running import Callctl, Outcome, run

from callctl import errors
from callctl.cli import exits
from callctl.cli.io.runtime import Runtime

SID = "CA" + "1" * 32
ENV = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "fake-token",
    "CALLCTL_FROM": "+15005550006",
}
PLACE = ("place", "+12025550100", "--say", "Hello", "--status-callback", "none", "--request-timeout", "500ms")
WAIT = ("wait", SID, "--for", "ended", "--wait-timeout", "100ms", "--request-timeout", "500ms")
REDIRECT = ("redirect", SID, "--say", "Hello", "--request-timeout", "500ms")
HANGUP = ("hangup", SID, "--request-timeout", "500ms")
LIST = ("list", "--request-timeout", "500ms")


def error(status: int, code: int | str, message: str) -> Turn:
    """Answer as the 2010 API refuses."""
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return reply(status, body, Twilio_Request_Id="RQ" + "0" * 32)


def ask(home: Path, server: Server, args: tuple[str, ...], *more: str) -> Outcome:
    return run(*args, *more, home=home, env={**ENV, "CALLCTL_API_URL": server.url}, back_off=lambda _seconds: None)


# What the server does, the command, its exit code, what is said, and a part of what to do next.
TABLE = [
    pytest.param(error(401, 20003, "Authenticate"), PLACE, 4, "Authenticate", "belong together", id="credentials"),
    pytest.param(error(403, 20403, "Forbidden"), LIST, 4, "Forbidden", "suspended", id="permission"),
    pytest.param(error(403, 70051, "No permission"), HANGUP, 4, "No permission", "restricted", id="restricted key"),
    pytest.param(
        error(404, 20404, f"The requested resource /Calls/{SID}.json was not found"),
        WAIT,
        3,
        "was not found",
        "check the SID",
        id="not found",
    ),
    pytest.param(
        error(429, 20429, "Too Many Requests"), LIST, 7, "Too Many Requests", "wait a little", id="rate limit"
    ),
    pytest.param(error(400, 21211, "Invalid 'To'"), PLACE, 1, "Invalid 'To'", "E.164", id="bad number"),
    pytest.param(error(400, 21219, "Unverified"), PLACE, 1, "Unverified", "trial account", id="trial"),
    pytest.param(error(400, 10004, "Limit"), PLACE, 1, "Limit", "concurrent calls", id="concurrent calls"),
    pytest.param(error(422, "21210", "From"), PLACE, 1, "From", "--from must be a number", id="code as text"),
    pytest.param(error(400, "call_refused", "Refused"), PLACE, 1, "Refused", "", id="code as a word"),
    pytest.param(
        reply(
            400,
            {"type": "https://example.com/e", "title": "Bad", "detail": "Url is no URL", "status": 400, "code": 21205},
            Content_Type="application/problem+json",
        ),
        PLACE,
        1,
        "Url is no URL",
        "absolute http or https URL",
        id="problem+json",
    ),
    pytest.param(
        reply(502, b"<html>Bad gateway</html>"),
        PLACE,
        1,
        "it is not known whether the call was placed: ",
        "before you place it again, look: `callctl list --live",
        id="a page",
    ),
    pytest.param(
        reply(500, b""),
        PLACE,
        1,
        "it is not known whether the call was placed: ",
        "before you place it again",
        id="an empty body",
    ),
    pytest.param(
        reply(503, {"code": 20503, "message": "Service unavailable", "status": 503}),
        REDIRECT,
        1,
        "it is not known whether the call was redirected: Service unavailable",
        f"before you redirect it again, look: `callctl show {SID}`",
        id="a redirect that is not answered for",
    ),
    pytest.param(
        reply(307, b"", Location="https://example.com/"), PLACE, 1, "HTTP 307", "not followed", id="elsewhere"
    ),
    pytest.param(
        reply(302, b"", Location="https://example.com/"),
        PLACE,
        1,
        "it is not known whether the call was placed: ",
        "before you place it again, look: `callctl list --live",
        id="an answer elsewhere",
    ),
    pytest.param(
        reply(201, b"<xml/>"), PLACE, 6, "may have been placed", "before you place it again", id="XML as a success"
    ),
    pytest.param(reply(200, {"no": "sid"}), WAIT, 6, "not with a call", "API address", id="no call"),
    pytest.param(hang(), LIST, 6, "no whole answer", "--request-timeout", id="no answer to a list"),
    pytest.param(drop(), LIST, 6, "broke before", "between here and the API", id="a broken list"),
    pytest.param(hang(), PLACE, 6, "no whole answer", "callctl list --live", id="no answer to a create"),
    pytest.param(drop(), REDIRECT, 6, "may have been redirected", f"callctl show {SID}", id="broken redirect"),
    pytest.param(cut(b'{"sid"'), PLACE, 6, "broke before", "callctl list --live", id="a broken answer"),
    pytest.param(reply(200, call(SID, status="ringing")), WAIT, 9, "it is ringing", "callctl hangup", id="timed out"),
    pytest.param(
        reply(200, call(SID, status="busy")),
        ("wait", SID, "--for", "answered"),
        8,
        "it ended busy",
        f"callctl show {SID}",
        id="ended otherwise",
    ),
]


@pytest.mark.parametrize(("turn", "args", "code", "said", "hint"), TABLE)
def test_what_a_server_does(home: Path, turn: Turn, args: tuple[str, ...], code: int, said: str, hint: str) -> None:
    with Server(turn) as server:
        outcome = ask(home, server, args)
    lines = outcome.err.splitlines()
    sentence = next(line for line in lines if line.startswith("callctl: error: "))
    assert outcome.code == code
    assert said in sentence
    assert [hint in line for line in lines if line.startswith("hint: ")] == ([True] if hint else [])
    assert "Traceback" not in outcome.err
    assert "fake-token" not in outcome.err + outcome.out
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize(("turn", "args", "code", "said", "hint"), TABLE)
def test_the_same_as_json(home: Path, turn: Turn, args: tuple[str, ...], code: int, said: str, hint: str) -> None:
    with Server(turn) as server:
        outcome = ask(home, server, args, "--json")
    record = json.loads(outcome.err.splitlines()[-1])
    assert outcome.code == record["exit_code"] == code
    assert (record["v"], record["type"]) == (1, "error")
    assert said in record["message"]
    assert hint in (record["hint"] or "")


def test_what_was_never_processed_is_tried_again_after_pauses_that_grow(home: Path) -> None:
    waited: list[float] = []
    with Server(error(429, 20429, "Too Many Requests")) as server:
        outcome = run(*PLACE, home=home, env={**ENV, "CALLCTL_API_URL": server.url}, back_off=waited.append)
        assert len(server.received) == 5
    assert outcome.code == 7
    assert waited == pytest.approx([0.1, 0.2, 0.4, 0.8], rel=0.11)
    assert outcome.err.count("callctl: Too Many Requests; trying again in ") == 4


def test_the_pauses_are_real_ones_unless_a_test_takes_their_place(home: Path) -> None:
    with Server(error(429, 20429, "Too Many Requests"), reply(200, {"calls": [], "next_page_uri": None})) as server:
        outcome = run(*LIST, home=home, env={**ENV, "CALLCTL_API_URL": server.url})
        assert len(server.received) == 2
    assert (outcome.code, outcome.out) == (0, "")
    assert "callctl: Too Many Requests; trying again in 0.1 s\n" in outcome.err
    null_stream = io.StringIO()
    assert Runtime({}, home, null_stream, null_stream, null_stream).back_off is time.sleep


def test_the_code_its_documentation_and_the_request_are_reported(home: Path) -> None:
    with Server(error(400, 21219, "Unverified")) as server:
        outcome = ask(home, server, PLACE)
    assert f"  code 21219, HTTP 400, https://www.twilio.com/docs/errors/21219, request RQ{'0' * 32}\n" in outcome.err


@pytest.mark.parametrize(
    "args",
    [
        LIST,
        PLACE,
        (*PLACE, "--dry-run"),
        ("show", SID),
        ("hangup", SID),
        ("hangup", "--all", "--yes"),
        ("redirect", SID, "--say", "Hello"),
        ("wait", SID, "--for", "ended"),
        ("watch", "--port", "0"),
        ("watch", "--port", "0", "--no-poll"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_an_api_key_in_the_place_of_the_account_is_explained_by_each_command(home: Path, args: tuple[str, ...]) -> None:
    with Server() as server:
        outcome = run(
            *args, home=home, env={**ENV, "CALLCTL_API_URL": server.url, "TWILIO_ACCOUNT_SID": "SK" + "0" * 32}
        )
        assert server.received == []
    assert outcome.code == 2
    message = "TWILIO_ACCOUNT_SID (from the environment) is the SID of an API key (SK…), not of an account (AC…)"
    assert message in outcome.err + outcome.out


@pytest.mark.parametrize(("region", "edge"), [("ie1", "dublin"), ("au1", "sydney")])
def test_the_edge_that_is_taken_for_a_region_is_said(home: Path, region: str, edge: str) -> None:
    regional = {**ENV, "TWILIO_REGION": region}
    outcome = run(*PLACE, "--dry-run", home=home, env=regional)
    host = f"https://api.{edge}.{region}.twilio.com"
    assert (outcome.code, host in outcome.out) == (0, True)
    sentence = (
        f"callctl: TWILIO_REGION is {region}, and TWILIO_EDGE is not set: requests go through {edge}, to {host}\n"
    )
    assert sentence in outcome.err
    assert "TWILIO_EDGE" not in run(*PLACE, "--dry-run", home=home, env={**regional, "TWILIO_EDGE": edge}).err


@pytest.mark.parametrize(
    ("args", "env", "code", "said"),
    [
        (("list",), {}, 2, "missing credentials: TWILIO_ACCOUNT_SID"),
        (("list", "--env-file", "missing"), {}, 2, "can't read the settings file"),
        (("list",), {"CALLCTL_API_URL": "https://example.com", "TWILIO_EDGE": "dublin"}, 2, "can't be combined"),
        (("list", "--account-sid", "../x"), ENV, 2, "--account-sid is malformed"),
        (("list", "--nonsense"), ENV, 2, "No such option: --nonsense"),
        (("nonsense",), ENV, 2, "No such command 'nonsense'"),
        (("place",), ENV, 2, "Missing argument 'TO'"),
        (("wait", SID), ENV, 2, "Missing option '--for'"),
        (("wait", "@last", "--for", "ended"), ENV, 3, "@last stands for no call"),
        (("list",), {**ENV, "CALLCTL_API_URL": "http://127.0.0.1:9"}, 6, "the connection was refused"),
        (
            (*PLACE, "--dry-run"),
            {**ENV, "CALLCTL_API_URL": "http://example.com"},
            2,
            "CALLCTL_API_URL is plain http",
        ),
    ],
)
def test_what_goes_wrong_before_a_server_answers(
    callctl: Callctl, args: tuple[str, ...], env: dict[str, str], code: int, said: str
) -> None:
    outcome = callctl(*args, env=env, back_off=lambda _seconds: None)
    assert outcome.code == code
    assert said in outcome.err


CODES: dict[type[errors.CallctlError], int] = {
    errors.CallctlError: 1,
    errors.UsageError: 2,
    errors.SettingsError: 2,
    errors.UnknownCallError: 3,
    errors.NotEndedError: 5,
    errors.NotInProgressError: 5,
    errors.ConditionNotMetError: 8,
    errors.PartlyFailedError: 8,
    errors.WaitTimeoutError: 9,
    errors.StoreError: 1,
    errors.StoreAwayError: 1,
    errors.StoreBusyError: 1,
    errors.NoThreadError: 1,
    errors.PortTakenError: 1,
    errors.NoLongerWantedError: 1,
    errors.NetworkError: 6,
    errors.OutcomeUnknownError: 6,
    errors.ApiError: 1,
    errors.AuthenticationError: 4,
    errors.NotFoundError: 3,
    errors.WrongCallStateError: 5,
    errors.RateLimitedError: 7,
}


def test_every_kind_of_error_has_its_exit_code() -> None:
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__}
    assert kinds == set(CODES)
    for kind, code in CODES.items():
        if issubclass(kind, errors.ApiError):
            failure: errors.CallctlError = kind("x", status=400)
        else:
            failure = errors.NoThreadError() if kind is errors.NoThreadError else kind("x")
        assert exits.code_for(failure) == code, kind


ELSEWHERE = ("simulator",)  # an island: its errors are replies
UNSEEN = {
    ("doctor/callback_route.py", "StoreError"),  # the check's own listener keeps nothing
    ("cli/doctor.py", "CallctlError"),  # only its exit code is asked for
    ("api/retries.py", "NoLongerWantedError"),  # the caller that no longer wants the request catches it
    ("rules/executor.py", "NoLongerWantedError"),
    ("watch/board_feed.py", "StoreAwayError"),  # the watch ends, and catches it
    ("cli/options/history.py", "NoLongerWantedError"),
    ("cli/watch/operator.py", "NoLongerWantedError"),
}


def test_every_error_says_what_to_do_next() -> None:
    """Of each error of ours that is made anywhere, whatever it takes to get there."""
    package = Path(errors.__file__).parent
    kinds = {kind.__name__ for kind in CODES} | {"RulesError", "NoReplyError"}
    without_hint = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        if place.parts[0] in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            kind = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if not isinstance(node, ast.Call) or kind not in kinds or (str(place), kind) in UNSEEN:
                continue
            if not any(keyword.arg == "hint" for keyword in node.keywords):
                without_hint.append(f"{place}:{node.lineno}")
    assert without_hint == []


def test_a_traceback_paints_no_more_than_the_sentence(tmp_path: Path) -> None:
    with Server(error(400, 20001, "\u202ethis is \u200bhidden")) as server:
        outcome = ask(tmp_path, server, HANGUP, "--debug")
    assert "Traceback" in outcome.err
    assert "\u202e" not in outcome.err
    assert "\u200b" not in outcome.err
