"""A shared store off this machine is reached by TLS, with the server's certificate checked, or not at all.

To callctl and libpq the server is at ``db.example.com``; ``hostaddr`` has libpq look for it on loopback.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from events import ACCOUNT
from postgresql_server import PostgresServer, postgres_server, skip_without_server
from running import Callctl

from callctl.errors import StoreError
from callctl.store.postgresql.connection import Engine

OPENSSL = shutil.which("openssl")
PASSWORD = "fake-password"
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Secured:
    """A server with TLS, and the folder of ``ca.pem``, which signed its certificate, and ``other.pem``."""

    port: int
    folder: Path
    database: str

    def url(self, options: str = "", *, host: str = "db.example.com", password: str = PASSWORD) -> str:
        """Return the URL of a store; ``{CA}`` and ``{OTHER}`` in its options become names of files."""
        options = options.format(CA=self.folder / "ca.pem", OTHER=self.folder / "other.pem")
        return f"postgresql://ann:{password}@{host}:{self.port}/{self.database}?hostaddr=127.0.0.1{options}"


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    """Return a server with TLS that asks one role, ann, for a password."""
    skip_without_server()
    with tempfile.TemporaryDirectory(prefix="callctl-tls-") as name:  # the server, another user, has to read it
        folder = Path(name)
        folder.chmod(0o755)
        _certificates(folder)
        (folder / "hba").write_text("host all ann 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n")
        with postgres_server(
            ssl="on",
            ssl_cert_file=str(folder / "server.pem"),
            ssl_key_file=str(folder / "server.key"),
            hba_file=str(folder / "hba"),
        ) as server:
            store = server.new_store()
            with closing(psycopg.connect(store, autocommit=True)) as connection:
                connection.execute(f"CREATE ROLE ann SUPERUSER LOGIN PASSWORD '{PASSWORD}'".encode())
            yield Secured(server.port, folder, store.rpartition("/")[2])


def _certificates(folder: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run([str(OPENSSL), *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        openssl("req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}", *files)
    openssl("req", *_KEY, "-subj", "/CN=db.example.com", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:db.example.com")
    signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signed_by, "-out", "server.pem")
    if os.geteuid() == 0:
        shutil.chown(folder / "server.key", "postgres")


@pytest.mark.parametrize("options", ["&sslrootcert={CA}", "&sslmode=verify-full&sslrootcert={CA}", "&sslmode=require"])
def test_a_store_is_reached_by_tls(callctl: Callctl, secured: Secured, options: str) -> None:
    url = secured.url(options)
    outcome = callctl("store", "check", env={"CALLCTL_STORE": url, "PGSSLMODE": "disable"})
    assert (outcome.code, outcome.err) == (0, "")
    assert "can be read and written" in outcome.out
    assert PASSWORD not in outcome.out


@pytest.mark.parametrize(
    ("host", "options", "password", "said", "hint"),
    [
        (
            "elsewhere.example.com",
            "&sslrootcert={CA}",
            PASSWORD,
            'certificate for "db.example.com" does not match host name "elsewhere.example.com"',
            "CALLCTL_STORE is to name the host as the server's certificate does",
        ),
        (
            "db.example.com",
            "&sslrootcert={OTHER}",
            PASSWORD,
            "certificate verify failed",
            "sslrootcert is to name the CA",
        ),
        ("db.example.com", "&sslmode=require&sslrootcert={OTHER}", PASSWORD, "verify failed", "sslrootcert is to name"),
        ("database-1.example.com", "", PASSWORD, '.postgresql/root.crt" does not exist (', "sslrootcert=system trusts"),
        ("db.example.com", "&sslrootcert=gone.pem", PASSWORD, 'file "gone.pem" does not exist (', "or name the file"),
        ("db.example.com", "&sslrootcert={CA}", "fake-wrong", "password authentication failed", "give the password in"),
    ],
)
def test_what_is_not_the_server_that_was_named_is_refused(
    callctl: Callctl, secured: Secured, host: str, options: str, password: str, said: str, hint: str
) -> None:
    outcome = callctl("store", "check", env={"CALLCTL_STORE": secured.url(options, host=host, password=password)})
    assert outcome.code == 1
    assert said in outcome.out
    assert hint in outcome.out
    assert password not in outcome.out + outcome.err
    assert "disable" not in outcome.out  # as libpq advises


@pytest.mark.parametrize("options", ["", "&sslmode=require", "&sslmode=verify-ca"])
def test_a_server_without_tls_is_refused_off_this_machine(
    callctl: Callctl, postgresql: PostgresServer, secured: Secured, options: str
) -> None:
    url = replace(secured, port=postgresql.port).url(f"&sslrootcert={{CA}}{options}")
    outcome = callctl("store", "check", env={"CALLCTL_STORE": url})
    assert outcome.code == 1
    assert "server does not support SSL" in outcome.out
    assert "switch `ssl` on at the server" in outcome.out
    assert PASSWORD not in outcome.out + outcome.err


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_a_mode_that_may_go_without_tls_is_refused_though_the_server_has_it(
    callctl: Callctl, secured: Secured, mode: str
) -> None:
    outcome = callctl("store", "check", env={"CALLCTL_STORE": secured.url(f"&sslmode={mode}")})
    assert outcome.code == 2
    assert f"with sslmode={mode}: that may be unencrypted" in outcome.err
    assert PASSWORD not in outcome.out + outcome.err


@pytest.mark.parametrize("password", ["100%safe-word", "fake word-%zz"])
def test_a_password_that_is_no_part_of_a_url_is_not_shown_where_faults_are_sought(
    callctl: Callctl, secured: Secured, password: str
) -> None:
    outcome = callctl(
        "stats", "--debug", env={"CALLCTL_STORE": secured.url(password=password), "TWILIO_ACCOUNT_SID": ACCOUNT}
    )
    assert outcome.code == 1
    assert "no URL that PostgreSQL's library can read" in outcome.out + outcome.err
    assert not re.search("safe-w|fake w", outcome.out + outcome.err)


def test_a_connection_that_came_about_without_tls_is_closed(secured: Secured) -> None:
    elsewhere = secured.url("&sslmode=disable", host="localhost").replace("hostaddr=127.0.0.1", "hostaddr=0.0.0.0")
    for url in (secured.url("&sslmode=disable"), elsewhere):
        with pytest.raises(StoreError, match="was reached without TLS") as refused:
            Engine(url).connect()
        assert refused.value.hint == "add sslmode=verify-full"
    Engine(secured.url("&sslmode=require")).connect().close()
