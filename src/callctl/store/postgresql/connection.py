"""Connections to PostgreSQL: each statement within a limit, opened anew by one thread where the server is away."""

from __future__ import annotations

import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, TypeVar

from callctl.errors import NoThreadError, StoreAwayError, StoreBusyError, StoreError, failure_reason
from callctl.settings.store_url import VERIFIED, describe, is_local_host
from callctl.support.backoff import Backoff
from callctl.support.threads import start, start_in_thread

if TYPE_CHECKING:
    from concurrent.futures import Future

    from psycopg import Connection
    from psycopg.abc import PQGen

T = TypeVar("T")

# Seconds that a statement, with its commit, may take, and that a connection may take to be opened.
STATEMENT_LIMIT = 5.0
CONNECT_LIMIT = 5.0
# Seconds that the look-up of its name may take beforehand, where that is not limited as the rest is. While name servers
# are away, the system's takes twenty and more; it can't be broken off. After five it goes on to the second name server.
_LOOK_UP_LIMIT = 8.0
# The part of it after which a server that answers ends a statement itself, as one that waits for a lock: it is known to
# be there then, and the connection is kept. No commit is ended so: the server's limit is for what comes before it.
_SERVERS_PART = 0.9
# Seconds after which it is also reported why a server that is away can't be reached, each reason once.
LONG_AWAY = 30.0
# Seconds that a statement which is under way gets where its connection is to be closed.
_LAST_ANSWER = 0.2
_PAUSES = Backoff(first=0.1, factor=2, longest=1.0)
# In seconds, where the URL says nothing of them: a firewall or NAT that forgets what is idle, some after four minutes,
# would swallow the first event after a quiet spell.
_KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 3}

# One statement, so that a connection costs one way there and back. ``synchronous_commit`` is only ever raised: an
# answer to Twilio means that an event is on the disk, and on that of the standby where there is a synchronous one.
# Whatever the server, the database, the role or the environment has: how times, durations and texts are written, and
# time limits that would end a connection which only waits. psycopg reads durations of one style alone.
_SET_UP = """
    SELECT set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO', false),
        set_config('intervalstyle', 'postgres', false), set_config('client_encoding', 'UTF8', false),
        set_config('application_name', 'callctl', false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('client_min_messages', 'warning', false),
        set_config('statement_timeout', %s, false), set_config('lock_timeout', '0', false),
        set_config('idle_session_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false),
        CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL
            THEN set_config('transaction_timeout', '0', false) END,
        CASE WHEN current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')
            THEN set_config('synchronous_commit', 'on', false) END
"""
_EXTRA_HINT = "pip install 'callctl[postgresql]'"


def check_driver() -> None:
    """Make sure that the driver is installed.

    Raises:
        StoreError: It is not; the hint names the extra.
    """
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise StoreError("a store in PostgreSQL needs psycopg, which is not installed", hint=_EXTRA_HINT) from error


class Engine:
    """A database server as several connections see it. Safe for several threads.

    While it is away nothing waits for it but one thread, which tries to connect: all else fails at once.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_limit: float = CONNECT_LIMIT,
        on_trouble: Callable[[str], None] = lambda _text: None,
        on_recovery: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Prepare; nothing is connected.

        Args:
            url: Where it is. libpq looks in the environment for what it lacks.
            connect_limit: How many seconds a connection may take to be opened, by each address of the server; libpq
                takes two at least.
            on_trouble: Called in any thread with why it is away, and again where it is for long.
            on_recovery: Called in any thread with the news that it is there again.
        """
        check_driver()
        self.name = describe(url)
        self._url, self._connect_limit = url, connect_limit
        self._on_trouble, self._on_recovery = on_trouble, on_recovery
        self._lock = threading.Lock()  # of what follows
        self._away: StoreAwayError | None = None
        self._closed = threading.Event()
        self._back: list[Callable[[], None]] = []
        self.losses = 0  # how often the server was away: a connection of before may be as dead as the one that failed

    @property
    def away(self) -> StoreAwayError | None:
        """Why the server is away, or None if it is not known to be."""
        return self._away

    def when_back(self, call: Callable[[], None]) -> None:
        """Have something called, in any thread, whenever the server is there again."""
        self._back.append(call)

    def connect(self, *, statement_limit: float | None = None) -> Connection[Any]:
        """Open a connection whose statements may take so many seconds each, ``STATEMENT_LIMIT`` if that is None.

        Raises:
            StoreAwayError: The server can't be reached, or takes no connections just now.
            StoreError: It refuses this user, or what is in the URL.
        """
        import psycopg

        try:
            connection = self._open()
        except psycopg.ProgrammingError:  # its text may hold a part of the URL, and so of a password
            raise StoreError("CALLCTL_STORE is no URL that PostgreSQL's library can read", hint=_URL_HINT) from None
        except psycopg.Error as error:
            _clear(error)
            raise self._explained(error, "reach") from error
        try:
            self._check_encrypted(connection)
            connection.limit = limit = statement_limit or STATEMENT_LIMIT
            connection.execute(_SET_UP, (f"{_SERVERS_PART * limit * 1000:.0f}ms",))
        except psycopg.Error as error:
            connection.close()
            raise self._explained(error, "reach") from error
        except BaseException:
            connection.close()
            raise
        opened: Connection[Any] = connection
        return opened

    def _open(self) -> Any:
        """Return a new connection. A thread opens it, which is not waited for while it looks up a name for too long."""
        looked_up = threading.Event()

        def open_connection() -> Any:
            _this_thread.looked_up = looked_up
            try:
                return _limited_connection().connect(
                    self._url,
                    **_keepalives(self._url),
                    autocommit=True,
                    prepare_threshold=0,
                    connect_timeout=round(self._connect_limit),
                    target_session_attrs="read-write",
                )
            finally:
                looked_up.set()

        try:
            opening = start_in_thread(open_connection)
        except NoThreadError as error:
            raise StoreAwayError(
                f"can't reach the event store {self.name}: {error.message}", hint=error.hint
            ) from error
        limit = self._connect_limit if self._connect_limit < CONNECT_LIMIT else _LOOK_UP_LIMIT
        try:
            if looked_up.wait(limit):
                return opening.result()
        except Exception:
            raise
        except BaseException:  # Ctrl-C
            opening.add_done_callback(_drop)
            raise
        opening.add_done_callback(_drop)
        reason = f"its host's name was not looked up within {limit:.0f} s"
        raise StoreAwayError(f"can't reach the event store {self.name}: {reason}", hint=_LOOK_UP_HINT)

    def _check_encrypted(self, connection: Connection[Any]) -> None:
        """See that a connection off this machine has TLS: a service file may have said otherwise."""
        info = connection.info
        if all(is_local_host(host) for host in (info.host, info.hostaddr) if host):
            return
        if not connection.pgconn.ssl_in_use:
            raise StoreError(f"the event store {self.name} was reached without TLS", hint=f"add sslmode={VERIFIED}")

    def lost(self, error: StoreAwayError) -> None:
        """Take note that the server is away, and have one thread look for it."""
        with self._lock:
            if self._away is not None or self._closed.is_set():
                return
            self._away = error
            self.losses += 1
        self._on_trouble(f"{error.message}; looking for it")
        try:
            start(threading.Thread(target=self._look, name="callctl-reconnect", daemon=True))
        except NoThreadError:
            with self._lock:
                self._away = None  # the next one who misses it tries again

    def report(self, text: str) -> None:
        """Report what is wrong with what it holds, as one does where it is away."""
        self._on_trouble(text)

    def _look(self) -> None:
        since = time.monotonic()
        reported: set[str] = set()
        for pause in _PAUSES.pauses():
            if self._closed.wait(pause):
                return
            try:
                self.connect().close()
                break
            except Exception as error:  # whatever it is, it is tried again: nobody else does
                reason, seconds = failure_reason(error), time.monotonic() - since
            if seconds >= LONG_AWAY and reason not in reported:  # it need not be why the server was lost
                reported.add(reason)
                self._on_trouble(f"{reason}; still looking for it after {seconds:.0f} s")
        with self._lock:
            self._away = None
        for call in self._back:
            call()
        self._on_recovery(f"the event store {self.name} is there again after {time.monotonic() - since:.0f} s")

    def close(self) -> None:
        """Look for the server no more."""
        self._closed.set()

    def _explained(self, error: Exception, doing: str) -> StoreError:
        return explained(error, doing, self.name)

    @contextmanager
    def snapshot(self) -> Iterator[Callable[[str, Mapping[str, Any]], list[tuple[Any, ...]]]]:
        """Yield what returns the rows of a statement, all of them of one moment, by a connection of its own.

        Raises:
            StoreError: It can't be read.
        """
        import psycopg

        connection = self.connect()

        def read(sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
            try:
                return _rows(connection, sql, values)
            except psycopg.Error as error:
                raise self._explained(error, "read") from error

        try:
            read("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", {})
            yield read
        finally:
            connection.close()


class Link:
    """One connection to the server, opened when it is first used and again when it was lost. For several threads."""

    def __init__(self, engine: Engine) -> None:
        """Prepare; nothing is connected."""
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: Connection[Any] | None = None
        self._losses = 0  # those of the engine when it was opened
        self._closed = False

    def read(self, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a statement that changes nothing; it is repeated once where a connection was lost.

        Raises:
            StoreError: It can't be read.
        """
        return self._repeatable(sql, values, "read")

    def test(self, sql: str, values: Mapping[str, Any]) -> None:
        """Run a statement that writes and changes nothing, as a test; it is repeated once where a connection was lost.

        Raises:
            StoreError: It can't be written.
        """
        self._repeatable(sql, values, "write to")

    def _repeatable(self, sql: str, values: Mapping[str, Any], doing: str) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._run(lambda connection: _rows(connection, sql, values), doing)
            except StoreAwayError:
                if self._engine.away is not None:
                    raise
                return self._run(lambda connection: _rows(connection, sql, values), doing)

    def write(self, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement that changes something, once; return its rows.

        Raises:
            StoreError: It can't be written; where the connection was lost meanwhile, it may have been.
        """
        with self._lock:
            return self._run(lambda connection: _rows(connection, sql, values), "write to")

    def _run(self, work: Callable[[Connection[Any]], T], doing: str) -> T:
        import psycopg

        if self._closed:
            raise StoreError(
                f"the event store {self._engine.name} is closed", hint="the watch is ending: start it again"
            )
        if (away := self._engine.away) is not None:
            raise StoreAwayError(away.message, hint=away.hint)
        if self._connection is not None and self._losses != self._engine.losses:
            self._connection.close()
            self._connection = None
        if self._connection is None:
            try:
                self._losses = self._engine.losses
                self._connection = self._engine.connect()
            except StoreAwayError as error:
                self._engine.lost(error)
                raise
        connection = self._connection
        try:
            with _no_lost_wait(connection, self._engine.name):
                return work(connection)
        except psycopg.Error as error:
            what = explained(error, doing, self._engine.name, is_lost=connection.closed, role=role_of(connection))
            if connection.closed or isinstance(what, StoreAwayError):
                # Also where it is open: its server may have become a standby, or its answers be out of step.
                connection.close()
                self._connection = None
                if getattr(connection, "gave_up", False):  # so would the next one
                    self._engine.lost(StoreAwayError(what.message, hint=what.hint))
            raise what from error
        except BaseException:
            # Ctrl-C, or anything else in mid-statement: nobody knows what the next answer would belong to.
            connection.close()
            self._connection = None
            raise

    def close(self, *, patience: float = _LAST_ANSWER) -> None:
        """Close the connection; a statement that has no answer after ``patience`` seconds fails."""
        self._closed = True
        if not self._lock.acquire(timeout=patience):
            self._break_off()
            if not self._lock.acquire(timeout=_LAST_ANSWER):
                return  # it is only being opened, and goes with its thread
        try:
            if self._connection is not None:
                self._connection.close()
        finally:
            self._lock.release()

    def _break_off(self) -> None:
        """Have the statement that is under way fail: its thread sees the end of its connection."""
        connection = self._connection
        if connection is not None:
            # It may just have ended by itself; then there is no socket, or no connection.
            with suppress(Exception), socket.socket(fileno=os.dup(connection.pgconn.socket)) as handle:
                handle.shutdown(socket.SHUT_RDWR)


_this_thread = threading.local()  # its ``looked_up`` is set when the look-up of names is over


def _keepalives(url: str) -> dict[str, int]:
    from psycopg.conninfo import conninfo_to_dict

    return {} if any(name.startswith("keepalives") for name in conninfo_to_dict(url)) else _KEEPALIVES


def _drop(opening: Future[Any]) -> None:
    """Close a connection that nobody waits for any more."""
    error = opening.exception()
    if error is None:
        opening.result().close()
    else:
        _clear(error)


def _clear(error: BaseException) -> None:
    """Clear the frames of a failed try to connect: they hold its connection, which stays open, and hold each other.

    A server that hung takes all such connections once it goes on. They would fill its ``max_connections``.
    """
    cause: BaseException | None = error
    while cause is not None:
        clear_frames(cause.__traceback__)
        cause = cause.__context__


def _rows(connection: Connection[Any], sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    cursor = connection.execute(sql, values)
    return cursor.fetchall() if cursor.description is not None else []


# The server's function that warns where the wait for a standby was given up: the commit is on one machine alone.
_STANDBY_WAIT = "SyncRepWaitForLSN"


@contextmanager
def _no_lost_wait(connection: Connection[Any], name: str) -> Iterator[None]:
    """Fail where the server warns that it gave up waiting for a standby: what is committed may be lost then.

    Other warnings are of the server's state or of its extensions, and are in its log. One of an unknown function, which
    a pooler may have left out, counts.
    """
    warnings: list[str] = []

    def note(diagnostic: Any) -> None:
        if diagnostic.severity_nonlocalized == "WARNING" and diagnostic.source_function in (_STANDBY_WAIT, None, ""):
            warnings.append(str(diagnostic.message_primary))

    connection.add_notice_handler(note)
    try:
        yield
    finally:
        connection.remove_notice_handler(note)
    if warnings:
        raise StoreError(f"the event store {name} warned: {warnings[0]}", hint="see the server's log")


_URL_HINT = "such as postgresql://callctl@db.example.com/callctl?sslmode=verify-full; a % in a password is %25"

# SQLSTATE classes and codes of a server that is there and will take this later: the client did nothing wrong.
_PASSING = ("08", "57P", "53300", "25006", "40003")

# SQLSTATE codes of a statement that took too long, or was ended by hand, and of a lock that did.
_BUSY = ("57014", "55P03")

# By what libpq says where there is no connection since TLS does not come about.
_TLS_HINTS = {
    "root certificate file": "sslrootcert=system trusts what this machine does; or name the file of a CA there",
    "does not match host name": "CALLCTL_STORE is to name the host as the server's certificate does",
    "certificate verify failed": "sslrootcert is to name the CA of the server's certificate; or that has expired",
    "does not support SSL": "switch `ssl` on at the server: off this machine nothing is sent unencrypted",
    "weak sslmode": "sslrootcert=system goes with sslmode=verify-full",
}
_OWNER_HINT = "the database's owner makes the schema: have CALLCTL_STORE name that role for once (docs/postgresql.md)"
_LOOK_UP_HINT = "see whether this machine's name servers answer"
_AWAY_HINT = "see whether the server runs and can be reached from here"
_BUSY_HINT = (
    "the server is slow, or another session holds a lock, as VACUUM FULL or a commit that waits for a standby does: "
    "pg_locks and pg_stat_activity show which"
)
# What libpq adds where the file of a CA is not there, and where nobody listens: the hints say it better.
_ADVICE = re.compile(
    r" Either provide the file\b.*? server certificate verification\."
    r"| Is the server running (?:locally|on that host) and accepting (?:TCP/IP )?connections(?: on that socket)?\?"
)
_PREFIX = re.compile(r"connection (?:failed|is bad): ")
# What psycopg writes before each of several addresses that were tried; before all of them it repeats the last one.
_SEVERAL = "All failures were:"
_TRIED = re.compile(r" ?- host: .*?, hostaddr: \S+ ")


def role_of(connection: Connection[Any]) -> str:
    """Return as which role a connection was opened, in words; without its name where it is closed."""
    return "the role" if connection.closed else f"the role {connection.info.user}"


def _reason(error: Exception) -> str:
    """Return what an error of the driver says, on one line, of each address that was tried once.

    What a server adds to its sentence is left out: whole statements, and rows with what callbacks have.
    """
    sentence = getattr(getattr(error, "diag", None), "message_primary", None)
    text = _ADVICE.sub("", " ".join((sentence or str(error)).split()))
    _, _, several = text.partition(_SEVERAL)
    tried = dict.fromkeys(filter(None, _TRIED.split(several))) if several else (text,)
    return "; ".join(_PREFIX.sub("", text.strip(), count=1) for text in tried) or type(error).__name__


def explained(error: Exception, doing: str, name: str, *, is_lost: bool = False, role: str = "the role") -> StoreError:
    """Return what an error of the driver means. Its text holds no password: libpq writes none.

    ``role`` is the role that the connection signed in with.
    """
    import psycopg

    code = getattr(error, "sqlstate", None) or ""
    text = _reason(error)
    message = f"can't {doing} the event store {name}: {text}"
    is_connection = isinstance(error, psycopg.OperationalError) and not code
    hints = {
        "28P01": "give the password in PGPASSWORD, PGPASSFILE or the URL",
        "3D000": "make the database (createdb), or name another in CALLCTL_STORE",
        "53100": "make room on the server's disk",
        "42501": _OWNER_HINT if doing == "migrate" else f"grant {role} the rights that docs/postgresql.md lists",
        "3F000": "`callctl store migrate` makes the schema",
        "42P01": "`callctl store migrate` makes the schema",
        "42883": "`callctl store migrate` makes the schema",
    }
    if code in _BUSY:
        return StoreBusyError(message, hint=_BUSY_HINT)
    if is_lost or is_connection or code.startswith(_PASSING):
        if "authentication failed" in text or "no password supplied" in text:
            return StoreError(message, hint="give the password in PGPASSWORD, PGPASSFILE or the URL")
        tls_hint = next((hint for sign, hint in _TLS_HINTS.items() if sign in text), None)
        if tls_hint is None and "database" in text and "does not exist" in text:
            return StoreError(message, hint=hints["3D000"])
        return StoreAwayError(message, hint=tls_hint or _AWAY_HINT)
    return StoreError(message, hint=hints.get(code, "`callctl store check` looks at it"))


@cache
def _limited_connection() -> Any:
    """Return a class of connections that give up a statement, and themselves, after ``limit`` seconds.

    The server's own limit does not help where the server hangs, nor on the way there. Nothing is canceled: a
    commit that waits for a standby would then be answered though it is on one machine alone.
    """
    import psycopg
    from psycopg.waiting import Ready, Wait

    events = {Wait.R: select.POLLIN, Wait.W: select.POLLOUT, Wait.RW: select.POLLIN | select.POLLOUT}

    class LimitedConnection(psycopg.Connection[Any]):
        limit = STATEMENT_LIMIT
        gave_up = False

        @classmethod
        def _connect_gen(cls, *args: Any, **more: Any) -> Any:
            # The driver's own; it is called with the first address that was looked up, and with further ones. Should
            # that change, the limit of the look-up holds for all of it.
            _this_thread.looked_up.set()
            return super()._connect_gen(*args, **more)

        def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ARG002
            end = time.monotonic() + self.limit
            poll = select.poll()
            try:
                state = next(gen)
                while True:
                    poll.register(self.pgconn.socket, events[state])
                    polled = poll.poll(max(end - time.monotonic(), 0) * 1000)
                    if not polled:
                        self.gave_up = True
                        self.pgconn.finish()
                        raise psycopg.OperationalError(f"no answer within {self.limit:.0f} s")
                    flags = polled[0][1]
                    ready = (Ready.R if flags & ~select.POLLOUT else 0) | (Ready.W if flags & select.POLLOUT else 0)
                    state = gen.send(Ready(ready))
            except StopIteration as stop:
                value: T = stop.value
                return value

    return LimitedConnection
