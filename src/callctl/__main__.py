"""``python -m callctl`` and the console script: run the command line and exit with its code.

Little is loaded here before signals are seen to: Ctrl-C may come at any moment.
"""

import os
import sys

_INTERRUPTED = 130
_WORDS = b"callctl: interrupted\n"

try:
    import signal
except KeyboardInterrupt:
    os.write(2, _WORDS)
    os._exit(_INTERRUPTED)

# Commands that run until they are stopped. SIGTERM is how a service manager stops them, so they end with 0 by it.
_LASTING = ("watch", "listen", "simulator")
# Commands that say what they have done when a signal ends them: they may have changed a call, or sent callbacks.
_SAYING = ("place", "hangup", "redirect", "replay")


def _leave(number: int, _frame: object) -> None:
    """End before anything was begun that would have to be tidied up."""
    if number == signal.SIGINT:
        os.write(2, _WORDS)
    os._exit(0 if number == signal.SIGTERM else _INTERRUPTED)


def _is_lasting() -> bool:
    return sys.argv[1:2] != [] and sys.argv[1] in _LASTING and sys.argv[1:3] != ["simulator", "call"]


def _take_signals() -> None:
    """Leave on Ctrl-C while modules are loaded, and on SIGTERM and SIGHUP too where the command runs until stopped.

    A signal that is ignored, as SIGHUP by nohup, stays so. Commands put their own handlers above these.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    if _is_lasting():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _leave)


_take_signals()


def _interrupt(number: int, frame: object) -> None:
    """Do on SIGTERM or SIGHUP what Ctrl-C does: say and record what may have been done."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # one may follow from the shell, and one after SIGTERM
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    if not callable(on_ctrl_c):  # it is ignored, as in a script's background
        raise KeyboardInterrupt
    on_ctrl_c(number, frame)  # type: ignore[arg-type] # the frame's type is in a module that takes time


def _interrupt_on_signals() -> None:
    """Have the command line see to Ctrl-C from here, and to SIGTERM and SIGHUP where it says what was done.

    What is ignored stays so.
    """
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1:2] == [] or sys.argv[1] not in _SAYING:
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def main() -> None:
    """Run callctl with the process's arguments, streams and environment; never returns."""
    try:
        from callctl.cli.main import main as run

        if not _is_lasting():
            _interrupt_on_signals()
        code = run(sys.argv[1:])
    except SystemExit as stop:  # Typer's, once it has completed a word or written a script for the shell
        if not isinstance(stop.code, int):
            raise
        code = stop.code
    except KeyboardInterrupt:
        # Between two commands' handlers; otherwise the command line sees to it.
        sys.stderr.write("callctl: interrupted\n")
        code = _INTERRUPTED
    except Exception as error:
        # A fault of callctl's own. Not sys.excepthook: Typer puts one of its own there.
        if "--debug" in sys.argv:
            import traceback

            sys.stderr.write(_without_secrets(traceback.format_exc()))
        else:
            kind, words = type(error).__name__, _without_secrets(" ".join(str(error).split()))
            sys.stderr.write("callctl: error: unexpected {}: {}\n".format(kind, words))  # noqa: UP032 - an old Python too
            sys.stderr.write("hint: this is a fault of callctl; run it again with --debug and report what it prints\n")
        code = 1
    _leave_at_once(code)


def _without_secrets(text: str) -> str:
    """Return a text without the passwords of URLs; as it is where callctl itself can't be loaded."""
    try:
        from callctl.errors import without_secrets
    except Exception:
        return text
    return without_secrets(text)


def _leave_at_once(code: int) -> None:
    """End with this code, whatever was being done when a signal came, and whatever signal comes yet.

    All is written and closed by now. To take the interpreter apart as well takes a tenth of a hang-up's time.

    Where Ctrl-C came in the making of a dataclass, Python was running a text. It notes an interrupt there as one that
    nobody handled and, started as ``python -m callctl``, kills itself with SIGINT on its way out. On that way it also
    takes all handlers of signals away, so that a second SIGTERM would kill it.
    """
    from contextlib import suppress

    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # gone, closed or full: reported before, where it could be
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
