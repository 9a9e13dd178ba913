"""Where settings come from, in order, and which of them must come from one source together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import MappingProxyType

from callctl.errors import SettingsError, why_unreadable
from callctl.settings import values as read
from callctl.settings.own_folder import has_own_owner
from callctl.settings.settings import LeftOut, Settings
from callctl.settings.store_url import check_is_path, describe, shared_store_url
from callctl.settings.values import ENVIRONMENT, FLAG, URL_PREFIX

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
# What opens a store in PostgreSQL: libpq reads it.
_STORE_PASSWORD = "PGPASSWORD"  # noqa: S105 - a variable's name
_STATE = ".local/state/callctl"
# What lies in the state folder (SECURITY.md, "What is stored, and where").
_EVENTS, _LISTENERS, _MARK = "events.db", "watch", ("last-not-known-", "last-placed-")
_BESIDE_EVENTS = frozenset(f"{_EVENTS}-{log}" for log in ("wal", "shm", "journal"))
# The path used where the home folder is not known: nobody, not even root, can make a file below it.
_NO_HOME = Path("/dev/null")

# Characters of a settings file. A longer file is not read: a large .env in some folder must not delay a hang-up.
_LONGEST = 256 * 1024


def load(
    environ: Mapping[str, str],
    *,
    cwd: Path,
    env_file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    requires_dotenv: bool = True,
) -> Settings:
    """Resolve the settings: ``overrides`` (from flags), then the named file, the environment, and a ``.env`` found.

    Without ``requires_dotenv``, a ``.env`` that was found and can't be used is left out where the credentials come from
    elsewhere: it must not keep a call from being ended. ``Settings.left_out`` then says why. One that is another user's
    is always left out, unless it is the named file.

    Raises:
        SettingsError: A file can't be read, or a value is malformed.
    """
    given = env_file or environ.get("CALLCTL_ENV_FILE")
    named = cwd / read.path(str(given), what="the settings file") if given else None
    found = _find_env_file(cwd)
    if found is not None and _is_anothers(found) and not _is_same(named, found):
        settings = _resolve(environ, cwd=cwd, named=named, env_path=None, overrides=overrides)
        error = SettingsError(
            "it is another user's, who could say where calls and callbacks go",
            hint="that file was found, not named: if you trust it, name it with --env-file",
        )
        return replace(settings, left_out=LeftOut(found, error, is_anothers=True))
    try:
        return _resolve(environ, cwd=cwd, named=named, env_path=found, overrides=overrides)
    except SettingsError as error:
        if found is None or requires_dotenv:
            raise
        try:
            settings = _resolve(environ, cwd=cwd, named=named, env_path=None, overrides=overrides)
            settings.credentials()
        except SettingsError:
            raise error from None
        return replace(settings, left_out=LeftOut(found, error))


def _resolve(
    environ: Mapping[str, str],
    *,
    cwd: Path,
    named: Path | None,
    env_path: Path | None,
    overrides: Mapping[str, str] | None,
) -> Settings:
    layers = [
        *([(str(named), _read_env_file(named))] if named else []),
        (ENVIRONMENT, {key: value for key, value in environ.items() if value}),
        *([(str(env_path), _read_env_file(env_path))] if env_path else []),
    ]
    values, sources = _merge(layers)
    token_account_sid = read.account_sid(values, sources)
    for key, value in (overrides or {}).items():
        values[key], sources[key] = value, FLAG
    above = env_path if env_path and env_path.parent != cwd.resolve() and _used(env_path, sources) else None
    state_dir = _state_dir(environ)
    unnamed = None if env_path == named else env_path
    store_url = _store_url(values, sources, environ=environ, unnamed=unnamed)
    store = state_dir / _EVENTS
    if store_url is None:
        store = _store(values, sources, cwd=cwd, state_dir=state_dir, unnamed=unnamed)
    settings = _build(values, sources, state_dir=state_dir, store=store, env_file_above=above)
    is_owner = token_account_sid in (None, settings.account_sid)
    return replace(
        settings,
        store_url=store_url,
        is_store_found=unnamed is not None and sources.get("CALLCTL_STORE") == str(unnamed),
        token_account_sid=None if is_owner else token_account_sid,
        files={source: frozenset(layer) for source, layer in layers if source != ENVIRONMENT},
    )


def environ_for_others(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for another program: without secrets, and without any setting of callctl's own.

    The URLs among those may hold passwords: a public URL that Twilio signs in to, named ones, that of a store.
    """
    return {
        name: value
        for name, value in environ.items()
        if name not in SECRETS and name != _STORE_PASSWORD and not name.startswith("CALLCTL_")
    }


def _used(path: Path, sources: Mapping[str, str]) -> bool:
    return str(path) in sources.values()


def _find_env_file(cwd: Path) -> Path | None:
    start = cwd.resolve()
    candidates = (folder / ".env" for folder in (start, *start.parents))
    return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113 - Path's raises


def _is_anothers(path: Path) -> bool:
    """Return whether a file, or the link that leads to it, is neither this user's nor root's."""
    try:
        return not (has_own_owner(path.lstat()) and has_own_owner(path.stat()))
    except OSError:
        return False  # reading it says why


def _is_same(named: Path | None, found: Path) -> bool:
    return named is not None and Path(os.path.realpath(named.parent), named.name) == found


def _read_env_file(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    hint = "--env-file, CALLCTL_ENV_FILE or a .env here or above names a text file with lines such as "
    hint += "CALLCTL_FROM=+15005550006"
    try:
        with path.open(encoding="utf-8-sig") as stream:
            text = stream.read(_LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"can't read the settings file {path}: {why_unreadable(error)}", hint=hint) from error
    if len(text) > _LONGEST:
        raise SettingsError(f"can't read the settings file {path}: longer than 256 kB", hint=hint)
    # Not interpolated: a ${TWILIO_AUTH_TOKEN} inside a URL would send the token away.
    return {key: value for key, value in dotenv_values(stream=StringIO(text), interpolate=False).items() if value}


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
    state_dir: Path,
    store: Path,
    env_file_above: Path | None,
) -> Settings:
    region = read.host_label(values, "TWILIO_REGION")
    edge = read.host_label(values, "TWILIO_EDGE")
    return Settings(
        account_sid=read.account_sid(values, sources),
        auth_token=values.get("TWILIO_AUTH_TOKEN"),
        api_key=values.get("TWILIO_API_KEY"),
        api_secret=values.get("TWILIO_API_SECRET"),
        region=region,
        edge=edge,
        api_url=read.api_url(values.get("CALLCTL_API_URL"), region=region, edge=edge),
        api_url_as_set=values.get("CALLCTL_API_URL"),
        signing_token=read.checked_signing_tokens(values.get("CALLCTL_SIGNING_TOKEN")),
        from_=values.get("CALLCTL_FROM"),
        public_url=read.public_url(values.get("CALLCTL_PUBLIC_URL")),
        port=read.port(values.get("CALLCTL_PORT")),
        state_dir=state_dir,
        store=store,
        urls=MappingProxyType(read.named_urls(values)),
        sources=MappingProxyType(dict(sources)),
        env_file_above=env_file_above,
    )


def _store_url(
    values: Mapping[str, str], sources: Mapping[str, str], *, environ: Mapping[str, str], unnamed: Path | None
) -> str | None:
    """Return the URL of a store in a database; None if the store is a file.

    Whose database it is decides which call ``@last`` is and what rules have done, so no .env that was merely found may
    name one.
    """
    text = values.get("CALLCTL_STORE")
    if text is None:
        return None
    if "://" not in text:
        check_is_path(text)
        return None
    url = shared_store_url(text, environ)
    if unnamed is not None and sources["CALLCTL_STORE"] == str(unnamed):
        raise SettingsError(
            f"CALLCTL_STORE in {unnamed} leads to a database: {describe(url)}",
            hint="that file was found, not named: name it with --env-file, or set CALLCTL_STORE in the environment",
        )
    return url


def _store(
    values: Mapping[str, str], sources: Mapping[str, str], *, cwd: Path, state_dir: Path, unnamed: Path | None
) -> Path:
    """Return where events are kept: below the folder of the file that says so, wherever the command is typed.

    An ``unnamed`` .env may be of another project: the store it sets must be nearby.
    """
    text = values.get("CALLCTL_STORE")
    if text is None:
        return state_dir / _EVENTS
    source = sources["CALLCTL_STORE"]
    folder = _folder_of(source, cwd=cwd)
    path = folder / read.path(text, what="CALLCTL_STORE")
    real, state = read.real_path(path, what="CALLCTL_STORE"), read.real_path(state_dir, what="the state folder")
    is_found = unnamed is not None and source == str(unnamed)
    if is_found:
        near = (state, read.real_path(folder, what="the folder of the settings file"))
        if not any(map(real.is_relative_to, near)):
            raise SettingsError(
                f"CALLCTL_STORE in {unnamed} leads to {real}, which is neither below that folder nor below {state_dir}",
                hint="that file was found, not named: name it with --env-file, or set CALLCTL_STORE in the environment",
            )
    if _is_reserved(real, state) or (is_found and state.is_relative_to(real)):
        raise SettingsError(
            f"CALLCTL_STORE is {path}, where callctl has something else: a store there would be in its way",
            hint=f"give the path of another file, such as {state_dir / 'calls.db'}",
        )
    return path


def _is_reserved(path: Path, state_dir: Path) -> bool:
    """Return whether a store would be where callctl keeps other files: who listens, the default store, a mark.

    There may be none of them yet. Not all file systems distinguish small letters and capitals.
    """
    if path == state_dir:
        return True
    if not path.is_relative_to(state_dir):
        return False
    first, *below = (part.casefold() for part in path.relative_to(state_dir).parts)
    if first == _LISTENERS or first.startswith(_MARK):
        return True
    return first.startswith((_EVENTS, f".{_EVENTS}")) if below else first in _BESIDE_EVENTS


def _folder_of(source: str, *, cwd: Path) -> Path:
    """Return the folder from which a source's relative paths count: that of a file, else the working folder.

    What a shell passes on as a device, as for ``--env-file <(…)``, has no folder that means anything.
    """
    if source in (ENVIRONMENT, FLAG) or source.startswith(("/dev/", "/proc/")):
        return cwd
    return Path(os.path.realpath(Path(source).parent))


def _state_dir(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    if Path(base).is_absolute():
        return Path(base) / "callctl"
    if home := environ.get("HOME"):
        return Path(home) / _STATE
    try:
        return read.path("~", what="the state folder") / _STATE
    except SettingsError:  # nobody of this uid is known, as in a container: calls can be ended without the folder
        return _NO_HOME / _STATE
