"""What a check found."""

from __future__ import annotations

from callctl.errors import AuthenticationError, SettingsError
from callctl.views.doctor_finding import Level, fine, skipped, warning, wrong


def test_no_finding_shows_a_password() -> None:
    url = "https://ann:secret@example.com"
    assert fine("a", url).text == warning("a", url, fix=None).text == "https://ann:***@example.com"
    assert warning("a", "x", fix=f"open {url}").fix == "open https://ann:***@example.com"


def test_a_refusal_of_the_api_comes_with_its_code() -> None:
    error = AuthenticationError("not accepted", status=401, code="20003", hint="copy both again")
    found = wrong("credentials", error)
    assert (found.level, found.text, found.fix) == (Level.WRONG, "not accepted", "copy both again")
    assert (found.facts["status"], found.facts["code"]) == (401, "20003")
    assert wrong("settings", SettingsError("malformed")).facts == {}


def test_facts_are_kept_and_what_was_not_checked_has_none() -> None:
    assert fine("clock", "agrees", seconds=1).facts == {"seconds": 1}
    assert (skipped("key", "not checked").level, skipped("key", "not checked").facts) == (Level.SKIPPED, {})
