"""Live call control for Twilio from a terminal."""

import sys

__version__ = "0.2.0"

if sys.version_info < (3, 11):  # noqa: UP036 - the readable sentence for who runs it from a checkout
    # Old syntax on purpose: the interpreter that needs to read this line is an old one.
    raise SystemExit("callctl needs Python 3.11 or later; this is Python %d.%d." % sys.version_info[:2])  # noqa: UP031
