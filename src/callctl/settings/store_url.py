"""Where a shared store lies: a URL, what may be shown of it, and whether the way there is safe. No driver is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, unquote

from callctl.errors import SettingsError
from callctl.support.urls import is_loopback_host

SCHEMES = ("postgresql", "postgres")
# The modes of TLS that fail where there is none. Others, such as libpq's own default, silently do without.
_TLS_MODES = ("require", "verify-ca", "verify-full")
VERIFIED = "verify-full"
_URL = r"(?s)(?:([^:/?#]+)://)?([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?"
# Of libpq's parameters those without which nobody names a database.
_PARAMETERS = "host|hostaddr|port|dbname|user|password|passfile|service|sslmode"

# Of those, which may hold an @: an abstract socket, names of users, passwords and paths.
_MAY_HAVE_AT = frozenset({"host", "user", "password", "passfile", "sslpassword", "sslcert", "sslkey", "sslrootcert"})


def describe(url: str) -> str:
    """Return a URL without password and without options, as it may be shown."""
    parts = _split(url)
    user, _, hosts = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    hosts = hosts or dict(parse_qsl(parts.query)).get("host", "")
    return f"postgresql://{f'{name}@' if name else ''}{hosts}{parts.path}"


def shared_store_url(text: str, environ: Mapping[str, str]) -> str:
    """Return the URL of a store, with a mode of TLS where it leads off this machine and names none.

    libpq's own default silently does without TLS where the server has none.

    Raises:
        SettingsError: It is no URL of PostgreSQL's, or names a mode that may send all unencrypted.
    """
    try:
        parts = _split(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise SettingsError("CALLCTL_STORE is no URL that can be read", hint=_HINT) from error
    if parts.scheme not in SCHEMES:
        raise SettingsError(f"CALLCTL_STORE is an address of an unknown kind: {parts.scheme}://", hint=_HINT)
    if parts.fragment or _has_unescaped(parts):
        raise SettingsError(
            "CALLCTL_STORE has a character in it that ends a part of a URL",
            hint="in a password write %23 for a #, %2F for a /, %3A for a :, %3F for a ?, %40 for an @",
        )
    mode = options.get("sslmode")
    if mode in _TLS_MODES or is_local(text, environ):
        return text
    if mode is None:
        return f"{text}{'&' if parts.query else '?'}sslmode={VERIFIED}"
    raise SettingsError(
        f"CALLCTL_STORE leads to another machine ({describe(text)}) with sslmode={mode}: that may be unencrypted",
        hint=f"{VERIFIED} checks the server's certificate; require and verify-ca encrypt",
    )


def _has_unescaped(parts: SplitResult) -> bool:
    """Return whether a password may go on in another part: there it would be shown, or looked up as a host."""
    user, _, hosts = parts.netloc.rpartition("@")
    options = [piece.partition("=") for piece in parts.query.split("&") if piece]
    return (
        "@" in user + parts.path
        or not all(re.fullmatch(r"(\[[^]]*\]|[^:]*)(:[0-9]*)?", host) for host in hosts.split(","))
        or any("@" in f"{equals}{value}" and name not in _MAY_HAVE_AT for name, equals, value in options)
        or any(not equals for _, equals, _ in options)
    )


def check_is_path(text: str) -> None:
    """See that a text without ``://`` is meant for a file: as its name a password would be shown, and stay there.

    Raises:
        SettingsError: It is libpq's other form, ``host=… password=…``, or a URL whose beginning is wrong.
    """
    if re.search(rf"(^|\s)({_PARAMETERS})\s*=", text):
        raise SettingsError("CALLCTL_STORE is a list of parameters; a database is named by a URL", hint=_HINT)
    if re.match(r"postgres(ql)?(:|//)|[^/.~@][^/@]*:[^/]*@", text):
        raise SettingsError("CALLCTL_STORE is neither a path nor a URL: postgresql:// is not whole", hint=_HINT)


def _split(url: str) -> SplitResult:
    """Return the parts of a URL. One may have several hosts, which Python's own ``urlsplit`` does not know.

    Source: postgresql.org/docs/current/libpq-connect.html, 32.1.1.2.
    """
    found = re.fullmatch(_URL, url.strip())
    scheme, netloc, path, query, fragment = found.groups("") if found else ("", "", url, "", "")
    return SplitResult(scheme.lower(), netloc, path, query, fragment)


def is_local(url: str, environ: Mapping[str, str]) -> bool:
    """Return whether all hosts of a URL are this machine, and those that libpq takes from the environment.

    It takes ``PGHOST`` where the URL has no host, and ``PGHOSTADDR``, to which it then connects, where that has no
    ``hostaddr``. Source: postgresql.org/docs/current/libpq-envars.html.
    """
    parts = _split(url)
    options = dict(parse_qsl(parts.query))
    if "service" in options or environ.get("PGSERVICE"):
        return False  # a file says where it leads
    hosts = [*_hosts(parts.netloc), *options.get("host", "").split(",")]
    if not any(hosts):
        hosts = environ.get("PGHOST", "").split(",")
    addresses = (options.get("hostaddr") or environ.get("PGHOSTADDR", "")).split(",")
    return all(is_local_host(host) for host in (*hosts, *addresses) if host)


def is_local_host(host: str) -> bool:
    """Return whether a host of a URL, without its port, is this machine: by loopback, or by a socket's path."""
    return host.startswith(("/", "@")) or is_loopback_host(host)


def _hosts(netloc: str) -> list[str]:
    hosts = [unquote(text) for text in netloc.rpartition("@")[2].split(",") if text]
    # "[::1]:5432" or "example.com:5432"
    return [host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0] for host in hosts]


_HINT = "a path, or such as postgresql://callctl@db.example.com/callctl?sslmode=verify-full"
