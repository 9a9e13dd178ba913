"""What a command is given: the streams, the environment, and how to speak on them.

stdout has data, stderr messages. Nothing here or in the commands reads ``os.environ`` or ``sys.stdout`` by itself, so a
test runs a whole command with streams and an environment of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from callctl.cli.io.streams import accept_any_text, discard_buffer, guarded, null_stream, written_whole
from callctl.errors import ApiError, CallctlError, UsageError, why_unreadable
from callctl.support.clock import Clock, elapsed

if TYPE_CHECKING:
    from rich.console import Console

    from callctl.api.client import ApiClient
    from callctl.api.retries import Retry
    from callctl.settings import Settings


class Form(Enum):
    """How data goes to stdout."""

    TABLE = "table"
    PLAIN = "plain"
    JSON = "json"
    CSV = "csv"


class Runtime:
    """The process as a command sees it."""

    def __init__(
        self,
        environ: Mapping[str, str],
        cwd: Path,
        stdin: TextIO,
        stdout: TextIO,
        stderr: TextIO,
        *,
        back_off: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        """Take the environment, the working directory and the streams.

        Args:
            environ: The environment's variables.
            cwd: The working directory.
            stdin: What is read.
            stdout: Where data goes.
            stderr: Where messages go.
            back_off: Waits for some seconds, before a request is sent again.
            now: Returns the time.
            elapsed: Returns seconds since some moment, which nobody can set.
        """
        self.environ, self.cwd = environ, cwd
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.back_off, self.now, self.elapsed = back_off, now, elapsed
        # Options that every command has.
        self.json = self.csv = self.debug = False
        self.masks_numbers = False  # in messages too; what goes to stdout is masked where it is written
        self.json_messages = False  # messages are JSON Lines as well: stderr is a log
        self.request_timeout = 10.0  # seconds
        self.api_url: str | None = None  # where the API is, once known, if it is not Twilio's
        # Takes a line of progress off the terminal before anything is written.
        self.make_room: Callable[[], None] | None = None
        # Shows messages where a table has the terminal; called in any thread.
        self.aside: Callable[[str], None] | None = None
        self.reads_keys = False  # stdin is a terminal that was read key by key
        self._said: set[str] = set()
        self._in_outage = False
        self._speaking = threading.RLock()  # requests wait, and say so, in threads

    @classmethod
    def of_process(cls) -> Runtime:
        """Return the runtime of this process. All text on its streams is made safe for a terminal."""
        from callctl.views.terminal_safe import SafeStream

        if not isinstance(sys.stdout, SafeStream):
            accept_any_text(sys.stdin, sys.stdout, sys.stderr)
            sys.stdout = cast(TextIO, SafeStream(guarded(written_whole(sys.stdout), name="stdout")))
            sys.stderr = cast(TextIO, SafeStream(written_whole(sys.stderr) or null_stream()))
        stdout, stderr = cast(TextIO, sys.stdout), cast(TextIO, sys.stderr)
        return cls(os.environ, _working_directory(), sys.stdin or null_stream(), stdout, stderr)

    def clock(self) -> Clock:
        """Return a clock that begins now."""
        return Clock(wall=self.now, elapsed=self.elapsed)

    @property
    def form(self) -> Form:
        """JSON or CSV if chosen, a table on a terminal, plain lines otherwise."""
        if self.csv:
            return Form.CSV
        if self.json:
            return Form.JSON
        return Form.TABLE if self.stdout.isatty() else Form.PLAIN

    @property
    def may_ask(self) -> bool:
        """Whether there is somebody to answer a question."""
        return self.stdin.isatty() and self.stdout.isatty() and not self.json

    def leave_terminal(self) -> None:
        """Write nothing more to a terminal that nobody reads: each word would wait for a reader."""
        for stream in (self.stdout, self.stderr):
            if stream.isatty():
                discard_buffer(stream)

    def read_stdin(self) -> str:
        """Return all that stdin holds, but for the mark that some programs of Windows put before UTF-8.

        Raises:
            UsageError: It can't be read.
        """
        try:
            return self.stdin.read().removeprefix("\ufeff")
        except OSError as error:
            raise UsageError(
                f"can't read stdin: {error.strerror}", hint="- stands for text that is piped in"
            ) from error

    def console(self) -> Console:
        """Return a rich console on stdout that takes no markup in text."""
        from callctl.views.terminal_safe import plain_console

        return plain_console(self.stdout, environ=self.environ)

    def write(self, line: str) -> None:
        """Write one line of data, flushed, so that a pipe sees it at once."""
        with self._speaking:
            if self.make_room is not None:
                self.make_room()
            self.stdout.write(line + "\n")
            self.stdout.flush()

    def write_json(self, value: Mapping[str, Any]) -> None:
        """Write one JSON object on one line, with the API's address if it is not Twilio's."""
        from callctl.views.terminal_safe import json_text

        self.write(json_text(self._in_its_world(value)))

    def _in_its_world(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        return record if self.api_url is None else {**record, "api_url": self.api_url}

    def say(self, text: str) -> None:
        """Write a message to stderr; beside a table that has the terminal, show it there."""
        from callctl.views.terminal_safe import printable

        if self.masks_numbers:
            from callctl.calls.masked_numbers import masked

            text = masked(text)
        with self._speaking:
            if self.aside is not None and self.stderr.isatty():
                self.aside(text.removeprefix("callctl: "))
                return
            if self.make_room is not None:
                self.make_room()
            if self.json_messages:
                self._write_json_message({"v": 1, "type": "note", "text": text.removeprefix("callctl: ")})
                return
            self._write_message("".join(f"{printable(line)}\n" for line in text.split("\n")))

    def _write_json_message(self, record: Mapping[str, Any]) -> None:
        from callctl.views.terminal_safe import json_text

        if self.masks_numbers:
            from callctl.calls.masked_numbers import masked_json

            record = masked_json(record)
        self._write_message(json_text(self._in_its_world(record)) + "\n")

    def _write_message(self, text: str) -> None:
        """Write to stderr. What can't be written there is lost, whatever the reason: it must not end the work."""
        with suppress(OSError):
            self.stderr.write(text)
            self.stderr.flush()

    @contextmanager
    def beside_table(self, note: Callable[[str], None]) -> Iterator[None]:
        """Show messages with ``note``, in this event loop, while a table has the terminal and would paint over them."""
        import asyncio

        loop = asyncio.get_running_loop()

        def show(text: str) -> None:
            with suppress(RuntimeError):  # the loop has ended: so has the table
                loop.call_soon_threadsafe(note, text)

        self.aside = show if self.form is Form.TABLE else None
        try:
            yield
        finally:
            self.aside = None

    def say_once(self, text: str) -> None:
        """Write a message unless it was written before."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def warn(self, error: CallctlError, *, before: str = "") -> None:
        """Say once an error that fails nothing; ``before`` says what was done all the same."""
        self.say_once(f"callctl: {before}{error.message}" + (f"\nhint: {error.hint}" if error.hint else ""))

    def report_outage(self, error: CallctlError | None) -> None:
        """Say once that requests fail and are repeated, and once that the API answers again, for None."""
        with self._speaking:
            if error is not None and not self._in_outage:
                self.say(
                    f"callctl: {error.message}; the request is repeated until the API answers, or the time is over"
                )
            elif error is None and self._in_outage:
                self.say("callctl: the API answers again")
            self._in_outage = error is not None

    def write_error(self, error: CallctlError, *, code: int, of: str = "") -> None:
        """Write an error to stderr: what, why, what to do next; as one JSON object with ``--json``.

        ``of`` is the SID of the call that it is about, where there are several.
        """
        if self.json:
            record = error_record(error, code=code)
            self._write_json_message({**record, "call_sid": of} if of else record)
            return
        whose = "" if error.message.startswith(of) else f"{of}: "
        self.say(f"callctl: error: {whose}{error.message}")
        if isinstance(error, ApiError):
            facts = [f"code {error.code}" if error.code else "", f"HTTP {error.status}", error.more_info or ""]
            request = f"request {error.request_id}" if error.request_id else ""
            self.say("  " + ", ".join(fact for fact in [*facts, request] if fact))
        if error.hint:
            self.say(f"hint: {error.hint}")

    def settings(
        self,
        *,
        env_file: Path | None = None,
        overrides: Mapping[str, str | None] | None = None,
        requires_dotenv: bool = True,
    ) -> Settings:
        """Resolve the settings and say on stderr what a user must know of them.

        ``requires_dotenv`` is False for commands that look at calls or end them: they go on without a ``.env`` that was
        found and can't be used, where the credentials come from elsewhere.

        Raises:
            SettingsError: A file can't be read, or a value is malformed.
        """
        from callctl.settings import load

        given = {key: value for key, value in (overrides or {}).items() if value is not None}
        settings = load(self.environ, cwd=self.cwd, env_file=env_file, overrides=given, requires_dotenv=requires_dotenv)
        if settings.left_out is not None:
            self.warn(settings.left_out.error, before=f"nothing in {settings.left_out.path} is used: ")
        if settings.env_file_above:
            self.say_once(f"callctl: using settings from {settings.env_file_above}")
        if settings.implied_edge:
            self.say_once(
                f"callctl: TWILIO_REGION is {settings.region}, and TWILIO_EDGE is not set: requests go through "
                f"{settings.implied_edge}, to {settings.api_url}"
            )
        if not settings.is_twilio:
            self.api_url = settings.api_url
            self.say_once(f"callctl: the API is {settings.api_url}, not Twilio's")
        return settings

    def client(self, settings: Settings) -> ApiClient:
        """Return an API client. Credentials are checked now, before anything else is done.

        Raises:
            SettingsError: Credentials are missing.
        """
        import random

        from callctl.api.client import ApiClient

        settings.credentials()
        return ApiClient(
            settings,
            request_timeout=self.request_timeout,
            sleep=self.back_off,
            random=random.random,
            on_retry=self._say_retry,
            on_warning=lambda text: self.say_once(f"callctl: warning: {text}"),
        )

    def _say_retry(self, retry: Retry) -> None:
        if not self._in_outage:
            self.say(f"callctl: {retry.reason}; trying again in {retry.seconds:.1f} s")


def _working_directory() -> Path:
    """Return where the process is; of a folder that is not there any more, where it was: calls can still be ended."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.environ.get("PWD") or "/")


def error_record(error: CallctlError, *, code: int) -> dict[str, Any]:
    """Return an error as the object that ``--json`` writes."""
    record: dict[str, Any] = {"v": 1, "type": "error", "message": error.message, "hint": error.hint, "exit_code": code}
    if isinstance(error, ApiError):
        record |= {
            "status": error.status,
            "code": error.code,
            "more_info": error.more_info,
            "request_id": error.request_id,
        }
    return record


def read_text(runtime: Runtime, value: str, *, option: str) -> str:
    """Return an option's text: as it is, from ``@FILE``, or from stdin for ``-``.

    Raises:
        UsageError: The file, or stdin, can't be read.
    """
    if value == "-":
        return runtime.read_stdin()
    if not value.startswith("@"):
        return value
    try:
        return (runtime.cwd / value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"can't read {value[1:]} ({option}): {why_unreadable(error)}",
            hint="@ is followed by the name of a text file; - means stdin",
        ) from error
