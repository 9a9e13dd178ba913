"""Where callctl's settings come from, in order, and which of them must come from one place together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from callctl.addresses import is_http_url, is_loopback_host
from callctl.errors import SettingsError, UsageError
from callctl.masking import masked_whole

TWILIO_API_URL = "https://api.twilio.com"
DEFAULT_PORT = 8765
FLAG = "flag"  # the source of what an option says
URL_PREFIX = "CALLCTL_URL_"

# One set, taken whole from the first source that has any of them. Otherwise a .env in somebody's repository could
# name its own server and be sent the token that the shell exports, or simulator settings could mix with real ones.
# The signing token and the region belong to it: they say whose signature counts and where the token goes.
IDENTITY = (
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_API_KEY",
    "TWILIO_API_SECRET",
    "TWILIO_REGION",
    "TWILIO_EDGE",
    "CALLCTL_API_URL",
    "CALLCTL_SIGNING_TOKEN",
)
PLAIN = ("CALLCTL_FROM", "CALLCTL_PUBLIC_URL", "CALLCTL_PORT", "CALLCTL_STORE")
SECRETS = frozenset({"TWILIO_AUTH_TOKEN", "TWILIO_API_KEY", "TWILIO_API_SECRET", "CALLCTL_SIGNING_TOKEN"})


@dataclass(frozen=True, slots=True)
class NamedUrl:
    """A TwiML URL that a name stands for, with the method Twilio shall use to fetch it."""

    url: str
    method: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request is signed in with: the account, and a user name and secret for HTTP Basic."""

    account_sid: str
    username: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, resolved. ``sources`` says where each came from, by variable name."""

    account_sid: str | None = None
    # Whose the auth token is, where the account acted on is a subaccount: a token of the main account opens it too.
    token_account_sid: str | None = None
    auth_token: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    api_secret: str | None = field(default=None, repr=False)
    region: str | None = None
    edge: str | None = None
    api_url: str = TWILIO_API_URL
    signing_token: str | None = field(default=None, repr=False)
    from_: str | None = None
    public_url: str | None = None
    port: int = DEFAULT_PORT
    state_dir: Path = Path()
    store: Path = Path()
    urls: Mapping[str, NamedUrl] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    env_file_above: Path | None = None

    @property
    def is_twilio(self) -> bool:
        """Whether the API address is Twilio's own."""
        host = urlsplit(self.api_url).hostname or ""
        return host == "twilio.com" or host.endswith(".twilio.com")

    @property
    def is_loopback(self) -> bool:
        """Whether the API runs on this machine, so that it can reach loopback addresses."""
        return is_loopback_host(urlsplit(self.api_url).hostname or "")

    @property
    def world(self) -> str:
        """A short name for this account at this API address, by which stores and records are kept apart."""
        text = f"{self.account_sid or ''}\n{self.api_url}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The tokens that may sign callbacks. An API key's secret can't (sheet section 7).

        Nor can the main account's token for a subaccount: its callbacks are signed with its own. While a token is
        rotated there are two, for callbacks that were signed before the change still come after it.
        """
        if self.signing_token:
            return _signing_tokens(self.signing_token)
        own = self.auth_token if self.token_account_sid in (None, self.account_sid) else None
        return (own,) if own else ()

    def named(self, variable: str) -> str:
        """Return a variable's name with where its value came from: ``CALLCTL_FROM (in /home/ann/.env)``."""
        source = self.sources.get(variable, "environment")
        return f"{variable} ({'from the environment' if source == 'environment' else f'in {source}'})"

    def credentials(self) -> Credentials:
        """Return what requests are signed in with: an API key if there is one, else the auth token.

        Raises:
            SettingsError: Something is missing; the message names what.
        """
        if self.account_sid and self.api_key and self.api_secret:
            return Credentials(self.account_sid, self.api_key, self.api_secret)
        if self.account_sid and self.auth_token and not self.api_key:
            return Credentials(self.account_sid, self.token_account_sid or self.account_sid, self.auth_token)
        raise SettingsError(
            f"missing credentials: {' and '.join(self._missing())}",
            hint="set them in the environment or a .env file (see .env.example), "
            "or try `callctl demo`, which needs no account",
        )

    def _missing(self) -> list[str]:
        missing = [] if self.account_sid else ["TWILIO_ACCOUNT_SID"]
        if self.api_key:
            return missing + ([] if self.api_secret else ["TWILIO_API_SECRET"])
        if self.api_secret:
            return [*missing, "TWILIO_API_KEY"]
        either = "TWILIO_AUTH_TOKEN (or TWILIO_API_KEY and TWILIO_API_SECRET)"
        return missing + ([] if self.auth_token else [either])

    def named_url(self, text: str) -> NamedUrl:
        """Turn ``survey`` or ``https://…`` into a URL.

        Raises:
            UsageError: It is neither a known name nor an http(s) URL; the known names are listed.
        """
        if "://" in text:
            if is_http_url(text):
                return NamedUrl(text)
            raise UsageError(f"not an absolute http or https URL: {masked_whole(text)}")
        named = self.urls.get(url_name(text))
        if named is not None:
            return named
        known = ", ".join(sorted(self.urls)) or "none are set"
        near = get_close_matches(url_name(text), self.urls, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"no URL is named {text!r} (known: {known})",
            hint=f"{guess}set {URL_PREFIX}{_variable(text)}=https://… or give the whole URL",
        )


def url_name(text: str) -> str:
    """Return the one spelling of a URL's name: lower case, hyphens (``CALLCTL_URL_AFTER_HOURS`` → ``after-hours``)."""
    return text.lower().replace("_", "-")


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "", name.upper().replace("-", "_")) or "NAME"


def load(
    environ: Mapping[str, str],
    *,
    cwd: Path,
    env_file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Settings:
    """Resolve the settings: ``overrides`` (from flags), then the named file, the environment, and a ``.env`` found.

    Raises:
        SettingsError: A named file can't be read, or a value is malformed.
    """
    given = env_file or environ.get("CALLCTL_ENV_FILE")
    named = cwd / Path(given).expanduser() if given else None
    found = _find_env_file(cwd)
    layers = [
        *([(str(named), _read_env_file(named))] if named else []),
        ("environment", {key: value for key, value in environ.items() if value}),
        *([(str(found), _read_env_file(found))] if found else []),
    ]
    values, sources = _merge(layers)
    token_account_sid = _account_sid(values, sources)
    for key, value in (overrides or {}).items():
        values[key], sources[key] = value, FLAG
    above = found if found and found.parent != cwd.resolve() and _used(found, sources) else None
    settings = _build(values, sources, environ=environ, env_file_above=above)
    is_owner = token_account_sid in (None, settings.account_sid)
    return settings if is_owner else replace(settings, token_account_sid=token_account_sid)


def _used(path: Path, sources: Mapping[str, str]) -> bool:
    return str(path) in sources.values()


def _find_env_file(cwd: Path) -> Path | None:
    here = cwd.resolve()
    candidates = (folder / ".env" for folder in (here, *here.parents))
    return next((path for path in candidates if path.is_file()), None)


def _read_env_file(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        # Not interpolated: a ${TWILIO_AUTH_TOKEN} inside a URL would send the token away.
        with path.open(encoding="utf-8") as stream:
            return {key: value for key, value in dotenv_values(stream=stream, interpolate=False).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise SettingsError(
            f"can't read the settings file {path}: {reason}",
            hint="--env-file, CALLCTL_ENV_FILE or a .env here or above names a text file with lines such as "
            "CALLCTL_FROM=+15005550006",
        ) from error


def _merge(layers: list[tuple[str, dict[str, str]]]) -> tuple[dict[str, str], dict[str, str]]:
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    identity_from: str | None = None
    for source, layer in layers:
        if identity_from is None and any(key in layer for key in IDENTITY):
            identity_from = source
        for key, value in layer.items():
            known = key in PLAIN or key.startswith(URL_PREFIX)
            if (known and key not in values) or (key in IDENTITY and source == identity_from):
                values[key], sources[key] = value, source
    return values, sources


def _build(
    values: Mapping[str, str],
    sources: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    env_file_above: Path | None,
) -> Settings:
    state_dir = _state_dir(environ)
    store = Path(values["CALLCTL_STORE"]).expanduser() if "CALLCTL_STORE" in values else state_dir / "events.db"
    region = _host_label(values, "TWILIO_REGION")
    edge = _host_label(values, "TWILIO_EDGE")
    return Settings(
        account_sid=_account_sid(values, sources),
        auth_token=values.get("TWILIO_AUTH_TOKEN"),
        api_key=values.get("TWILIO_API_KEY"),
        api_secret=values.get("TWILIO_API_SECRET"),
        region=region,
        edge=edge,
        api_url=_api_url(values.get("CALLCTL_API_URL"), region=region, edge=edge),
        signing_token=_checked_signing_tokens(values.get("CALLCTL_SIGNING_TOKEN")),
        from_=values.get("CALLCTL_FROM"),
        public_url=_public_url(values.get("CALLCTL_PUBLIC_URL")),
        port=_port(values.get("CALLCTL_PORT")),
        state_dir=state_dir,
        store=store,
        urls=MappingProxyType(_named_urls(values)),
        sources=MappingProxyType(dict(sources)),
        env_file_above=env_file_above,
    )


def _state_dir(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    root = Path(base) if Path(base).is_absolute() else Path(environ.get("HOME") or "~").expanduser() / ".local/state"
    return root / "callctl"


def _account_sid(values: Mapping[str, str], sources: Mapping[str, str]) -> str | None:
    text = values.get("TWILIO_ACCOUNT_SID")
    # It becomes part of the path of every request, so nothing that could change the path may stand in it.
    if text is None or re.fullmatch(r"[A-Za-z0-9-]{2,64}", text):
        return text
    name = "--account-sid" if sources["TWILIO_ACCOUNT_SID"] == FLAG else "TWILIO_ACCOUNT_SID"
    raise SettingsError(f"{name} is malformed", hint="it begins with AC and has 34 characters")


def _signing_tokens(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def _checked_signing_tokens(text: str | None) -> str | None:
    if text and len(_signing_tokens(text)) not in (1, 2):
        raise SettingsError(
            "CALLCTL_SIGNING_TOKEN takes one token, or two while it is rotated",
            hint="write the new one and the old one with a comma between them",
        )
    return text


def _host_label(values: Mapping[str, str], key: str) -> str | None:
    text = values.get(key)
    # It becomes part of the host that receives the token.
    if text is None or re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", text):
        return text
    raise SettingsError(f"{key} is malformed: {text!r}", hint="for example ie1 or dublin")


def _api_url(text: str | None, *, region: str | None, edge: str | None) -> str:
    if text is None:
        return _twilio_url(region=region, edge=edge)
    if region or edge:
        raise SettingsError(
            "CALLCTL_API_URL can't be combined with TWILIO_REGION or TWILIO_EDGE",
            hint="the region and the edge choose among Twilio's own hosts; unset them, or unset CALLCTL_API_URL",
        )
    parts = urlsplit(text) if is_http_url(text) else None
    if parts is None or parts.query or parts.fragment or parts.username is not None:
        raise SettingsError(
            "CALLCTL_API_URL is not a plain http or https address",  # not shown: it may hold a password
            hint="for example https://example.signalwire.com/api/laml",
        )
    if parts.scheme == "http" and not is_loopback_host(parts.hostname or ""):
        raise SettingsError(
            f"CALLCTL_API_URL is plain http: {text}",
            hint="the token would travel unencrypted; use https (http is for loopback only)",
        )
    return text.rstrip("/")


def _twilio_url(*, region: str | None, edge: str | None) -> str:
    if edge and not region:
        region = "us1"  # what the library does (sheet section 8, Hosts)
    return "https://" + ".".join(part for part in ("api", edge, region, "twilio.com") if part)


def _public_url(text: str | None) -> str | None:
    if text is None or is_http_url(text):
        return text
    raise SettingsError(f"CALLCTL_PUBLIC_URL is not an http or https address: {masked_whole(text)}")


def _port(text: str | None) -> int:
    if text is None:
        return DEFAULT_PORT
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise SettingsError(f"CALLCTL_PORT is not a port number: {text}")


def _named_urls(values: Mapping[str, str]) -> dict[str, NamedUrl]:
    named = {}
    for key, value in values.items():
        if key.startswith(URL_PREFIX) and len(key) > len(URL_PREFIX):
            method, _, rest = value.partition(" ")
            has_method = method in ("GET", "POST") and rest
            url = rest.strip() if has_method else value
            if not is_http_url(url):
                raise SettingsError(
                    f"{key} is not an http or https address: {masked_whole(value)}",
                    hint="write https://…, or GET https://… for a document on static hosting",
                )
            named[url_name(key.removeprefix(URL_PREFIX))] = NamedUrl(url, method if has_method else None)
    return named
