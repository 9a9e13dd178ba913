"""Where a call's callbacks go: the option, the watch, or nowhere."""

from __future__ import annotations

from cli.setup import CliSetup, messages
from web_site import closed_port

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
