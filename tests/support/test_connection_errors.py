"""Why a connection failed."""

from __future__ import annotations

import os

from callctl.support.connection_errors import reason_of


def test_why_a_connection_failed_in_one_phrase() -> None:
    assert reason_of(OSError(111, "Connect call failed ('127.0.0.1', 9999)")) == os.strerror(111)
    assert reason_of(OSError(-2, "Name or service not known")) == "Name or service not known"
    assert reason_of(OSError("Multiple exceptions")) == "Multiple exceptions"
