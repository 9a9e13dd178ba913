"""Findings on a terminal: long text goes on under itself."""

from __future__ import annotations

import io
import re

import pytest

from callctl.errors import AuthenticationError
from callctl.views.doctor import print_finding
from callctl.views.doctor_finding import fine, skipped, warning, wrong
from callctl.views.terminal_safe import plain_console

FORM = re.compile("\x1b\\[[0-9;]*m")
NARROW = """\
✓ account        “Example Ltd”, active (Full)
! signing        missing credentials: TWILIO_AUTH_TOKEN,
                 without which no callback can be
                 verified
                 → Twilio signs callbacks with the auth
                   token
✗ credentials    not accepted (20003)
                 → copy both again
- round trip     not tried
"""
NARROWEST = """\
✓ account
    “Example Ltd”, active (Full)
! signing
    missing credentials:
    TWILIO_AUTH_TOKEN, without which
    no callback can be verified
    → Twilio signs callbacks with the
      auth token
✗ credentials
    not accepted (20003)
    → copy both again
- round trip
    not tried
"""


@pytest.mark.parametrize(("columns", "expected"), [(56, NARROW), (38, NARROWEST)])
@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}])
def test_long_text_goes_on_under_itself(columns: int, expected: str, environ: dict[str, str]) -> None:
    stream = io.StringIO()
    console = plain_console(stream, environ=environ, width=columns)
    for finding in (
        fine("account", "“Example Ltd”, active (Full)"),
        warning(
            "signing",
            "missing credentials: TWILIO_AUTH_TOKEN, without which no callback can be verified",
            fix="Twilio signs callbacks with the auth token",
        ),
        wrong("credentials", AuthenticationError("not accepted", status=401, code="20003", hint="copy both again")),
        skipped("round trip", "not tried"),
    ):
        print_finding(console, finding, width=13)
    assert FORM.sub("", stream.getvalue()) == expected


def test_the_sign_of_a_warning_can_be_seen_on_a_white_ground() -> None:
    stream = io.StringIO()
    console = plain_console(stream, environ={"TERM": "xterm", "FORCE_COLOR": "1"}, width=80)
    print_finding(console, warning("signing", "no token", fix="name one"), width=8)
    assert "\x1b[1m! " in stream.getvalue()
