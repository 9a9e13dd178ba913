"""``python -m callctl`` and the console script: run the command line and exit with its code."""

import sys


def main() -> None:
    """Run callctl with the process's arguments, streams and environment; never returns."""
    from callctl.cli.app import main as run

    sys.excepthook = _say_unexpected
    sys.exit(run(sys.argv[1:]))


def _say_unexpected(kind, error, trace):  # type: ignore[no-untyped-def]  # annotations here must suit any Python 3
    # A fault of callctl's own. The exit code is Python's for an uncaught exception, 1: a failure.
    if "--debug" in sys.argv:
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write("callctl: error: unexpected {}: {}\n".format(kind.__name__, error))  # noqa: UP032
    sys.stderr.write("hint: this is a fault of callctl; run it again with --debug and report what it prints\n")


if __name__ == "__main__":
    main()
