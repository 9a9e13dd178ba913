"""Whether files are this user's own: what is trusted counts only where no other user can write."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from callctl.errors import CallctlError

OTHERS_WRITE = 0o022  # the right of group and others to write
_OWN_FOLDER = "set XDG_STATE_HOME to a folder of your own"


def has_own_owner(status: os.stat_result) -> bool:
    """Return whether a file is this user's own, or root's."""
    return status.st_uid in (os.geteuid(), 0)  # root can do anything here anyway


def is_mine(status: os.stat_result) -> bool:
    """Return whether a file is this user's, who alone can change its mode."""
    return status.st_uid == os.geteuid()


def check_own_folder(folder: Path, *, could: str) -> bool:
    """Make sure that only this user writes to a folder for callctl's state; return whether there is one.

    ``could`` says what others could do otherwise.

    Raises:
        CallctlError: It is no folder, somebody else's or open to others, or can't be looked at.
    """
    try:
        status = folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CallctlError(f"can't look at the state folder {folder}: {error.strerror}", hint=_OWN_FOLDER) from error
    if not stat.S_ISDIR(status.st_mode):
        raise CallctlError(f"the state folder {folder} is no folder", hint=f"move it away, or {_OWN_FOLDER}")
    if not has_own_owner(status):
        raise CallctlError(
            f"the state folder {folder} is another user's ({status.st_uid}), who could {could}", hint=_OWN_FOLDER
        )
    if status.st_mode & OTHERS_WRITE:
        raise CallctlError(
            f"others may write to the state folder {folder} (mode {stat.S_IMODE(status.st_mode):03o}), and so {could}",
            hint=f"chmod go-w {shlex.quote(str(folder))}" if is_mine(status) else _OWN_FOLDER,
        )
    return True
