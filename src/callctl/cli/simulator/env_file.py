"""The settings by which callctl uses a simulator: as they are shown, and in a file for ``--env-file``."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.errors import CallctlError, UsageError, why_unreadable

if TYPE_CHECKING:
    from callctl.simulator import Simulator

DEFAULT_PORT = 8766  # beside the listener's 8765
DEFAULT_PROXY_PORT = 8767


def settings_to_use(running: Simulator) -> dict[str, str]:
    """Return the settings that make callctl, or any client, use a simulator, signed in with the account's token."""
    url = running.url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    return {
        "TWILIO_ACCOUNT_SID": running.account_sid,
        "TWILIO_AUTH_TOKEN": running.auth_token,
        "CALLCTL_API_URL": url,
        "CALLCTL_FROM": "+15005550006",
        "CALLCTL_URL_SURVEY": f"{url}/simulator/survey",
    }


def settings_with_key(running: Simulator) -> dict[str, str]:
    """Return the same with the API key, for those who chose one."""
    key = {"TWILIO_API_KEY": running.api_key, "TWILIO_API_SECRET": running.api_secret}
    return {**settings_to_use(running), **key}


def env_lines(settings: Mapping[str, str]) -> list[str]:
    """Return the settings as a settings file has them and a shell reads them: in quotes where that needs some."""
    return [f"{name}={shlex.quote(value)}" for name, value in settings.items()]


def write_settings(path: Path, settings: Mapping[str, str], *, force: bool) -> None:
    """Write settings to a file that only its owner may read.

    One that a simulator has left there is replaced, for each start may have other ports and another certificate. A file
    that somebody else has written, or changed since, is kept unless forced. A device or a pipe is never replaced.

    Raises:
        UsageError: The file is there and was kept, or is no regular file.
        CallctlError: It can't be written.
    """
    lines = "\n".join([*env_lines(settings), ""])
    text = f"{_heading(lines)}\n{lines}"
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no regular file", hint="--write-env names a file in a folder of yours")
        if not force and path.exists() and not _is_own(path.read_text(encoding="utf-8")):
            raise UsageError(f"{path} is there already and was kept", hint="--force replaces it")
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # 0600 from the start
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise CallctlError(
            f"can't write {path}: {why_unreadable(error)}", hint="--write-env names a file in a folder of yours"
        ) from error


def _is_own(text: str) -> bool:
    """Return whether a simulator has written a file, and nobody has changed it since."""
    heading, _, lines = text.partition("\n")
    return heading == _heading(lines)


def _heading(lines: str) -> str:
    """Return the first line of a file, in which the rest of it is named by its digest."""
    digest = hashlib.sha256(lines.encode()).hexdigest()[:12]
    return f"# For callctl's simulator: no calls are placed. Its next start replaces this, unless changed: {digest}"
