"""Commands in hints are there to be pasted: what an API says must stay one word of them."""

import shlex

import pytest
from api.scripted import ReceivedRequest, Server, Turn, call, reply
from running import Callctl

SID = "CA" + "1" * 32
HOSTILE = "CA2; touch here $(touch there) 'x"
QUOTED = shlex.quote(HOSTILE)
OVER = reply(400, {"code": 21220, "message": "Call is not in-progress", "status": 400})
ACCOUNT = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake-token"}


class Child(Server):
    """Has one call, in one status: the child of a call with a hostile SID."""

    def __init__(self, status: str) -> None:
        super().__init__(reply(404))
        self._status = status

    def take(self, request: ReceivedRequest) -> Turn:
        if request.method == "POST" and self._status == "busy":
            return OVER
        if "/Calls/" in request.path:
            return reply(200, call(status=self._status, parent_call_sid=HOSTILE))
        return reply(200, {"calls": [], "next_page_uri": None})


@pytest.mark.parametrize(
    ("status", "command", "pasted"),
    [
        ("completed", ("hangup", SID), f"`callctl hangup {QUOTED}` ends it as well"),
        ("in-progress", ("redirect", SID, "--say", "Hi"), f"other leg: callctl redirect {QUOTED} --say Hi\n"),
        ("busy", ("redirect", SID, "--say", "Hi"), f"`callctl show {QUOTED}`\n"),
    ],
)
def test_what_the_api_says_is_one_word_of_a_command(
    callctl: Callctl, status: str, command: tuple[str, ...], pasted: str
) -> None:
    with Child(status) as server:
        assert pasted in callctl(*command, env=ACCOUNT | {"CALLCTL_API_URL": server.url}).err


def test_so_must_what_comes_on_stdin(callctl: Callctl) -> None:
    errors = callctl("hangup", "-", env=ACCOUNT, stdin="client:$(id)\n").err
    assert "`callctl list --live --to 'client:$(id)'` shows" in errors


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (("export", "--csv"), "hint: --format csv writes a row for each leg; see `callctl export --help`"),
        (("stats", "--format", "csv"), "hint: --csv and --json write it for programs; see `callctl stats --help`"),
        (("hangup", "--live"), "hint: `callctl hangup --all` ends live calls alone; see `callctl hangup --help`"),
    ],
)
def test_an_option_that_another_command_has(callctl: Callctl, command: tuple[str, ...], instead: str) -> None:
    done = callctl(*command)
    assert (done.code, done.err.splitlines()) == (2, [f"callctl: error: No such option: {command[1]}", instead])
