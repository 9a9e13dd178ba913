"""Where a call's callbacks go: the option, the watch, or nowhere."""

from __future__ import annotations

from cli.setup import CliSetup, messages

TO = "+12025550103"


def test_a_warning_comes_only_when_all_options_will_do(setup: CliSetup) -> None:
    twiml = "<Response><Dial>+12025550100</Dial></Response>"
    outcome = setup.callctl("place", TO, "--twiml", twiml, "--status-callback", "somewhere")
    said = "callctl: error: --status-callback is neither a URL nor none: somewhere\nhint: an absolute http or https URL"
    assert messages(outcome).startswith(said)
