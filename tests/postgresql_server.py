"""A PostgreSQL of one's own for tests and benchmarks, on a port of loopback, with nothing that another one knows."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg
import pytest
from web_site import free_port

from callctl.store.postgresql.maintenance import migrate

# The newest that is installed, or those of another version: a folder with initdb and postgres.
_CHOSEN = os.environ.get("CALLCTL_TEST_POSTGRESQL_PROGRAMS")
_INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
_PROGRAMS = [Path(_CHOSEN)] if _CHOSEN else _INSTALLED
# So that a start takes a moment, and nothing that is not tested. What makes an event durable is left alone.
_SETTINGS = {"max_wal_size": "64MB", "shared_buffers": "16MB", "max_connections": "60", "log_min_messages": "warning"}


class PostgresServer:
    """A server, and the databases that tests make in it."""

    def __init__(self, folder: Path, programs: Path, prefix: list[str], **settings: str) -> None:
        self.folder, self._programs, self._prefix = folder, programs, prefix
        self.port = free_port()
        self._databases = 0
        self._emptied = ""
        settings = {**_SETTINGS, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", **settings}
        self._settings = {**settings, "port": str(self.port)}
        self.process: subprocess.Popen[bytes] | None = None

    def make(self, template: Path) -> None:
        """Make a server with nothing in it: a copy of the first that was made so, which takes less than that."""
        if not (template / "data").exists():
            self._run(
                "initdb", "-A", "trust", "-U", "callctl", "-E", "UTF8", "--locale=C", "--no-sync", folder=template
            )
        copy = [*self._prefix, "cp", "-a", str(template / "data"), str(self.folder / "data")]
        subprocess.run(copy, check=True, capture_output=True, cwd=self.folder)

    def copy(self, primary: PostgresServer) -> None:
        """Make a standby of another server; skip the test where what makes one is not installed."""
        if not (self._programs / "pg_basebackup").exists():
            pytest.skip(f"there is no pg_basebackup in {self._programs}")
        self._run("pg_basebackup", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", primary.url("postgres"))

    def _run(self, program: str, *arguments: str, folder: Path | None = None) -> None:
        data = (folder or self.folder) / "data"
        command = [*self._prefix, str(self._programs / program), "-D", str(data), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)

    def start(self) -> None:
        """Start, and wait until connections are taken."""
        options = [text for name, value in self._settings.items() for text in ("-c", f"{name}={value}")]
        command = [*self._prefix, str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        deadline = time.monotonic() + 60
        while True:
            try:
                return psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                is_gone = self.process.poll() is not None  # as where another one has taken the port
                assert not is_gone and time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def url(self, database: str) -> str:
        return f"postgresql://callctl@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; return its URL."""
        self._databases += 1
        name = f"test_{os.getpid()}_{self._databases}"
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def new_store(self) -> str:
        """Make a database with callctl's schema; return its URL."""
        url = self.new_database()
        migrate(url)
        return url

    def emptied_store(self) -> str:
        """Empty the database that the last one who asked so was given; return its URL. That takes less than a new one.

        It is for who stores in it what callctl itself does, and changes nothing else of it.
        """
        if not self._emptied:
            self._emptied = self.new_store()
            return self._emptied
        with closing(psycopg.connect(self._emptied, autocommit=True)) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            tables = connection.execute(
                "SELECT string_agg(format('callctl.%I', tablename), ', ') FROM pg_tables"
                " WHERE schemaname = 'callctl' AND tablename <> 'schema_version'"
            ).fetchone()
            assert tables is not None
            connection.execute(f"TRUNCATE {tables[0]}".encode())
            connection.execute("ALTER SEQUENCE callctl.fences RESTART")
        return self._emptied

    def signal_all(self, number: int) -> list[int]:
        """Send a signal to the server and then all its processes; return their ids."""
        assert self.process is not None
        os.kill(self.process.pid, number)
        return self._signal_children(number)

    def _signal_children(self, number: int) -> list[int]:
        assert self.process is not None
        listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)
        processes = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()[1:]]
        children = [pid for pid, parent in processes if parent == self.process.pid]
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return children

    def kill(self) -> None:
        """End the server as a power cut would, as far as its processes are concerned."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)  # it makes no more processes
        children = self._signal_children(signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process = None
        deadline = time.monotonic() + 60
        while any(map(_is_running, children)):  # a new server refuses to start beside them
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process is not None:
            self.signal_all(signal.SIGCONT)
            self.process.send_signal(signal.SIGQUIT)  # at once: nobody needs what it holds
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def why_there_is_none() -> str | None:
    """Return why no server can be started here; None where one can."""
    if not _PROGRAMS:
        return "PostgreSQL's server is not installed (/usr/lib/postgresql/*/bin): apt-get install postgresql"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL refuses to be run by root, and there is no setpriv to be somebody else"
    return None


def _folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder for whom the server is run as."""
    folder = tempfile.TemporaryDirectory(prefix="callctl-pg-", ignore_cleanup_errors=True)
    if os.geteuid() == 0:
        shutil.chown(folder.name, "postgres", "postgres")
    return folder


@cache
def _template() -> tempfile.TemporaryDirectory[str]:
    """Make the folder for what all servers of this process are copies of."""
    folder = _folder()
    atexit.register(folder.cleanup)
    return folder


def skip_without_server() -> None:
    """Skip the test where the programs of a server are not installed."""
    if (why := why_there_is_none()) is not None:
        if os.environ.get("CALLCTL_TEST_POSTGRESQL") == "required":
            pytest.fail(f"{why}; and these tests are not to be left out")
        pytest.skip(why)


@contextmanager
def postgres_server(*, standby_of: PostgresServer | None = None, **settings: str) -> Iterator[PostgresServer]:
    """Start a server where the programs are installed; skip the test where they are not.

    A ``standby_of`` another one follows that from then on.
    """
    skip_without_server()
    # PostgreSQL refuses to be run by root.
    prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    with _folder() as name:
        server = PostgresServer(Path(name), _PROGRAMS[0], prefix, **settings)
        if standby_of is None:
            server.make(Path(_template().name))
        else:
            server.copy(standby_of)
        server.start()
        try:
            yield server
        finally:
            server.stop()
