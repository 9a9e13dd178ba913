"""``python -m callctl`` and the console script: run the command line and exit with its code."""

import sys


def main() -> None:
    """Run callctl with the process's arguments, streams and environment; never returns."""
    try:
        from callctl.cli.app import main as run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # While the modules were being loaded; later, the command line sees to it.
        sys.stderr.write("callctl: interrupted\n")
        code = 130
    except Exception as error:
        # A fault of callctl's own. Not sys.excepthook: Typer puts one of its own there.
        if "--debug" in sys.argv:
            raise
        kind = type(error).__name__
        sys.stderr.write("callctl: error: unexpected {}: {}\n".format(kind, error))  # noqa: UP032 - for an old Python too
        sys.stderr.write("hint: this is a fault of callctl; run it again with --debug and report what it prints\n")
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
