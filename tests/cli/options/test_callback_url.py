"""Where a call's callbacks go: the option, the watch, or nowhere."""

from __future__ import annotations

import pytest
from cli.setup import ANSWERS, LONG, CliSetup, messages
from processes import Piped
from running import env_for
from web_site import closed_port, free_port

TO = "+12025550103"


def test_a_warning_comes_only_when_all_options_will_do(setup: CliSetup) -> None:
    twiml = "<Response><Dial>+12025550100</Dial></Response>"
    outcome = setup.callctl("place", TO, "--twiml", twiml, "--status-callback", "somewhere")
    said = "callctl: error: --status-callback is neither a URL nor none: somewhere\nhint: an absolute http or https URL"
    assert messages(outcome).startswith(said)


def test_where_the_shared_store_is_away_it_is_not_said_that_nobody_listens(setup: CliSetup) -> None:
    with closed_port() as port:
        env = {"CALLCTL_STORE": f"postgresql://callctl@127.0.0.1:{port}/callctl"}
        placed = setup.callctl("place", TO, "--say", "Hello", "--wait-for", "ringing", "--wait-timeout", "1s", env=env)
        redirected = setup.callctl(
            "redirect", placed.out.split()[0], "--url", "http://localhost:9/x", "--status-callback", "watch", env=env
        )
        public = setup.callctl("place", TO, "--say", "Hello", env=env | {"CALLCTL_PUBLIC_URL": "http://localhost:9"})
    for outcome in (placed, redirected, public):
        assert outcome.err.count("watches and listeners can't be looked for: can't reach the event store") == 1
        assert outcome.err.count("it is not known whether a watch or listener runs") == 1
        assert "is running" not in outcome.err
    assert "\nhint: mend what keeps that from being known, or give --status-callback URL" in placed.err
    assert "runs; status callbacks go to CALLCTL_PUBLIC_URL" in public.err


@pytest.mark.parametrize("public_url", ["http://localhost:9#", "http://localhost:9/status#"])
def test_a_public_url_with_nothing_behind_its_hash_gets_what_has_twilio_try_again(
    setup: CliSetup, public_url: str
) -> None:
    env = {"CALLCTL_PUBLIC_URL": public_url}
    outcome = setup.callctl("place", TO, "--say", "Hello", "--dry-run", env=env)
    assert "StatusCallback=http://localhost:9/status#rc=5&rp=" in outcome.out


SLASH = "with a slash at the end, unlike the listener's"
NO_QUERY = "without the query of the listener's"


@pytest.mark.parametrize(
    ("more", "end", "but"),
    [
        ((), "/status/?key=1", f"{SLASH}: callbacks may be lost"),
        ((), "/status", f"{NO_QUERY}: callbacks may be lost"),
        (
            ("--forward-to", "http://127.0.0.1:9/hook"),
            "/status/?key=1",
            f"{SLASH}: the application gets callbacks at that path",
        ),
        (
            ("--forward-to", "http://127.0.0.1:9/hook"),
            "",
            "with no path, unlike the listener's: callbacks may be lost",
        ),
        ((), "/status?key=1&a=b#rc=1", None),
        ((), "/other", None),
    ],
)
def test_a_url_that_is_a_listeners_but_for_its_spelling_is_warned_of(
    setup: CliSetup, more: tuple[str, ...], end: str, but: str | None
) -> None:
    env, port = env_for(setup.simulator), free_port()
    host = f"http://127.0.0.1:{port}"
    own, given = f"{host}/status?key=1", host + end
    arguments = ("watch", "--port", str(port), "--public-url", own, "--no-poll", "--json", *more)
    with Piped(*arguments, home=setup.home, env=env) as watch:
        watch.record()
        placed = setup.callctl("place", ANSWERS, "--say", LONG, "--status-callback", given)
        setup.simulator.advance(4)
        sid = placed.out.strip()
        redirected = setup.callctl("redirect", sid, "--url", "survey", "--status-callback", given)
    for outcome in (placed, redirected):
        assert outcome.code == 0
        warned = f"callctl: warning: --status-callback is the URL of a running listener, but {but}\nhint: give '{own}"
        assert (warned in outcome.err, "warning" in outcome.err) == (but is not None,) * 2
