"""The resolved settings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from callctl.calls.sid import KINDS
from callctl.errors import CallctlError, SettingsError, StoreError, UsageError, nearest_word, without_user_info
from callctl.settings.own_folder import check_own_folder, has_own_owner
from callctl.settings.store_url import describe
from callctl.settings.values import (
    DEFAULT_PORT,
    ENVIRONMENT,
    OWN_EDGES,
    TWILIO_API_URL,
    URL_PREFIX,
    NamedUrl,
    may_be_token,
    signing_tokens,
    url_name,
    without_edge,
    wrong_kind_of_sid,
)
from callctl.support.urls import is_http_url, is_loopback_url, one_spelling, scheme_hint


@dataclass(frozen=True)
class Credentials:
    """What a request is signed in with: the account, and a user name and secret for HTTP Basic."""

    account_sid: str
    username: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class LeftOut:
    """A ``.env`` that was found and of which nothing is used, and why; ``is_anothers``: it is another user's."""

    path: Path
    error: SettingsError
    is_anothers: bool = False


@dataclass(frozen=True)
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
    api_url_as_set: str | None = None
    signing_token: str | None = field(default=None, repr=False)
    from_: str | None = None
    public_url: str | None = None
    port: int = DEFAULT_PORT
    state_dir: Path = Path()
    store: Path = Path()
    # Whether a .env that was merely found says where the store is: it may be another's, made for who clones it.
    is_store_found: bool = False
    # Where events are kept instead, if that is a database; it may hold a password.
    store_url: str | None = field(default=None, repr=False)
    urls: Mapping[str, NamedUrl] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    env_file_above: Path | None = None
    left_out: LeftOut | None = None
    # The files that were read, and all that each sets, also what does not count beside another source.
    files: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def is_twilio(self) -> bool:
        """Whether the API address is Twilio's own."""
        host = urlsplit(self.api_url).hostname or ""
        return host == "twilio.com" or host.endswith(".twilio.com")

    @property
    def implied_edge(self) -> str | None:
        """The edge through which the region is reached where none is set, if it needs one."""
        return OWN_EDGES.get(self.region or "") if self.edge is None else None

    @property
    def is_loopback(self) -> bool:
        """Whether the API runs on this machine, so that it can reach loopback addresses."""
        return is_loopback_url(self.api_url)

    @property
    def world(self) -> str:
        """A short name for this account at this API address, which separates stores and records.

        Through whichever edge a region of Twilio's is reached, its calls are the same.
        """
        return self._world_at(without_edge(self.api_url))

    @property
    def former_worlds(self) -> tuple[str, ...]:
        """The other names of the world in stores of before, for the address as it is set.

        With another edge it was another world. In callctl 0.1.0 so it was with another spelling of the address: upper
        and lower case of the host counted, a dot at its end, and a port that is the usual one.
        """
        as_set = (self.api_url_as_set or self.api_url).rstrip("/")
        former = [self.api_url, as_set] if one_spelling(as_set) == self.api_url else [self.api_url]
        return tuple(world for world in dict.fromkeys(map(self._world_at, former)) if world != self.world)

    def _world_at(self, api_url: str) -> str:
        text = f"{self.account_sid or ''}\n{api_url}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def store_name(self) -> str:
        """Where events are kept, as it may be shown: without a password."""
        return str(self.store) if self.store_url is None else describe(self.store_url)

    @property
    def is_store_in_doubt(self) -> bool:
        """Whether a file that is left out may have named another store; that of another user never does."""
        left_out = self.left_out is not None and not self.left_out.is_anothers
        return left_out and "CALLCTL_STORE" not in self.sources

    def checked_store(self) -> Path:
        """Return where the store is; below the state folder it counts only if no other user can write there.

        What it says decides which call ``@last`` is, and what rules have done.

        Raises:
            StoreError: A folder or the file is somebody else's or open to others, or can't be looked at.
        """
        folders = [folder for folder in self.store.parents if folder.is_relative_to(self.state_dir)]
        try:
            for folder in reversed(folders):
                check_own_folder(folder, could="say which call @last is and what rules have done")
            if folders and self.store.exists() and not has_own_owner(status := self.store.stat()):
                raise StoreError(
                    f"the event store {self.store} is another user's ({status.st_uid})",
                    hint="move it away, or set XDG_STATE_HOME to a folder of your own",
                )
        except OSError as error:
            raise StoreError(
                f"can't look at the event store {self.store}: {error.strerror}",
                hint="set XDG_STATE_HOME to a folder of your own",
            ) from error
        except StoreError:
            raise
        except CallctlError as error:
            raise StoreError(error.message, hint=error.hint) from error
        return self.store

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The tokens that may sign callbacks. An API key's secret can't (docs/twilio.md, "Signatures").

        Nor can the main account's token for a subaccount: its callbacks are signed with its own. While a token is
        rotated there are two, for callbacks that were signed before the change still come after it.
        """
        return tuple(token for token in self._tokens_set_for_signing if may_be_token(token))

    @property
    def holds_no_tokens(self) -> bool:
        """Whether a text that is set for signing can't be a token, since it holds characters that none has."""
        return not all(map(may_be_token, self._tokens_set_for_signing))

    @property
    def _tokens_set_for_signing(self) -> tuple[str, ...]:
        if self.signing_token:
            return signing_tokens(self.signing_token)
        own = self.auth_token if self.token_account_sid in (None, self.account_sid) else None
        return (own,) if own else ()

    def named(self, variable: str) -> str:
        """Return a variable's name with where its value came from: ``CALLCTL_FROM (in /home/ann/.env)``."""
        source = self.sources.get(variable, ENVIRONMENT)
        return f"{variable} ({'from the environment' if source == ENVIRONMENT else f'in {source}'})"

    def credentials(self) -> Credentials:
        """Return what requests are signed in with: an API key if there is one, else the auth token.

        Raises:
            SettingsError: Something is missing, or the SID of something else; the message names what.
        """
        self.check_kinds()
        if self.account_sid and self.api_key and self.api_secret:
            return Credentials(self.account_sid, self.api_key, self.api_secret)
        if self.account_sid and self.auth_token and not self.api_key:
            return Credentials(self.account_sid, self.token_account_sid or self.account_sid, self.auth_token)
        raise SettingsError(
            f"missing credentials: {' and '.join(self._missing())}",
            hint="set them in the environment or a .env file (see .env.example), "
            "or try `callctl demo`, which needs no account",
        )

    def check_kinds(self) -> None:
        """See that none of what requests are signed in with is the SID of something else, which would be refused.

        Raises:
            SettingsError: One is; the message says of what.
        """
        used = {"TWILIO_ACCOUNT_SID": self.account_sid}
        if self.api_key:
            used |= {"TWILIO_API_KEY": self.api_key, "TWILIO_API_SECRET": self.api_secret}
        else:
            used["TWILIO_AUTH_TOKEN"] = self.auth_token
        for name, text in used.items():
            trouble = wrong_kind_of_sid(name, text or "")
            # Another service may have SIDs of its own. The account's SID and token may stand for an API key.
            is_sid = text is not None and (self.is_twilio or text[:2] in KINDS)
            if trouble and is_sid and not (name == "TWILIO_API_KEY" and text == self.account_sid):
                raise SettingsError(
                    f"{self.named(name)} {trouble}",
                    hint="account SID and auth token are on the first page of https://console.twilio.com; an API key "
                    "is TWILIO_API_KEY, with TWILIO_API_SECRET",
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
            raise UsageError(
                f"not an absolute http or https URL: {without_user_info(text)}",
                hint="such as https://example.com/survey.xml",
            )
        named = self.urls.get(url_name(text))
        if named is not None:
            return named
        if "." in text or "/" in text or ":" in text:  # no name has these
            raise UsageError(
                f"not an absolute http or https URL: {without_user_info(text)}",
                hint=scheme_hint(text, otherwise="such as https://example.com/survey.xml"),
            )
        known = ", ".join(sorted(self.urls)) or "none are set"
        near = nearest_word(text, self.urls)
        guess = f"did you mean {near}? " if near else ""
        raise UsageError(
            f"no URL is named {without_user_info(text)!r} (known: {known})",
            hint=f"{guess}set {URL_PREFIX}{_variable(text)}=https://… or give the whole URL",
        )


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "", name.upper().replace("-", "_")) or "NAME"
