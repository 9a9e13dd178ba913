"""``python -m callctl`` and the console script: run the command line and exit with its code."""

import os
import sys
import traceback
from contextlib import suppress

_INTERRUPTED = 130


def main() -> None:
    """Run callctl with the process's arguments, streams and environment; never returns."""
    try:
        from callctl.cli.app import main as run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # While the modules were being loaded; later, the command line sees to it.
        sys.stderr.write("callctl: interrupted\n")
        code = _INTERRUPTED
    except Exception as error:
        # A fault of callctl's own. Not sys.excepthook: Typer puts one of its own there.
        if "--debug" in sys.argv:
            sys.stderr.write(_masked(traceback.format_exc()))
        else:
            kind, words = type(error).__name__, _masked(" ".join(str(error).split()))
            sys.stderr.write("callctl: error: unexpected {}: {}\n".format(kind, words))  # noqa: UP032 - an old Python too
            sys.stderr.write("hint: this is a fault of callctl; run it again with --debug and report what it prints\n")
        code = 1
    if code == _INTERRUPTED:
        _leave_at_once()
    sys.exit(code)


def _masked(text: str) -> str:
    """Return a text without the passwords of URLs; as it is where callctl itself can't be loaded."""
    try:
        from callctl.masking import masked
    except Exception:
        return text
    return masked(text)


def _leave_at_once() -> None:
    """End with 130, whatever was being done when Ctrl-C came.

    Where that was the making of a dataclass, Python was running a text. It notes an interrupt there as one that nobody
    handled and, started as ``python -m callctl``, kills itself with SIGINT on its way out.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # gone, or closed
            stream.flush()
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
