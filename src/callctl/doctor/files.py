"""The files of this machine: whether others can read the settings, and whether the event store works."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path

from callctl.errors import CallctlError, StoreError
from callctl.settings import ENVIRONMENT, FLAG, IDENTITY, SECRETS, Settings
from callctl.settings.own_folder import OTHERS_WRITE, has_own_owner, is_mine
from callctl.store.sqlite.location import LOCATION_HINT, check_location, check_no_log_alone
from callctl.views.doctor_finding import Finding, fine, warning, wrong
from callctl.watch.registry.registry import check_folders

_OTHERS = 0o077  # the rights of group and others
_GROUP_READS = 0o040
_LEAST_SPACE = 10 * 1024 * 1024  # bytes; a call with all its callbacks takes about 10 kB


def settings_files(settings: Settings) -> Iterator[Finding]:
    """Yield, for each file that was read, whether others may read secrets in it, and whether its account counts."""
    if (left_out := settings.left_out) is not None:
        text = f"nothing in {left_out.path} is used: {left_out.error.message}"
        yield warning("settings file", text, fix=left_out.error.hint)
    elif not settings.files:
        yield fine("settings file", "none is used")
    for name, names in sorted(settings.files.items()):
        beside = _passed_over(settings, name, names)
        try:
            status = Path(name).stat()
        except OSError as error:
            yield warning("settings file", f"{name} can't be looked at: {error.strerror}", fix=None)
            continue
        mode = status.st_mode & 0o777
        if SECRETS.isdisjoint(names):
            yield fine("settings file", f"{name} holds no secret{beside}")
        elif status.st_uid == 0 and mode & _OTHERS == _GROUP_READS:  # which is how a service gets it
            who = f"root and the group {_group_name(status.st_gid)} alone"
            yield fine("settings file", f"{name} is readable by {who}{beside}", mode=f"{mode:03o}")
        elif mode & _OTHERS:
            yield warning(
                "settings file",
                f"{name} holds secrets, and others on this machine may read or change it (mode {mode:03o}){beside}",
                fix=_closed(name) if is_mine(status) else "keep them in a file of your own, or in the environment",
                mode=f"{mode:03o}",
            )
        else:
            yield fine("settings file", f"{name} is readable by you alone{beside}", mode=f"{mode:03o}")


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _closed(path: Path | str) -> str:
    return f"chmod 600 {shlex.quote(str(path))}"


def _passed_over(settings: Settings, name: str, names: Collection[str]) -> str:
    """Say that a file's account and keys don't count, where they are taken from elsewhere; else nothing."""
    source = next((settings.sources[key] for key in IDENTITY if settings.sources.get(key, FLAG) != FLAG), name)
    if source == name or not any(key in names for key in IDENTITY):
        return ""
    where = "of the environment" if source == ENVIRONMENT else f"in {source}"
    return f"; its account and keys don't count: those {where} do"


def state_folder_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what keeps a watch and ``place`` from finding each other in the state folder; nothing if they can."""
    try:
        check_folders(settings.state_dir)
    except CallctlError as error:
        yield wrong("state folder", error)


def store_finding(settings: Settings, *, limit: float | None = 1.0) -> Finding:
    """Check whether the event store can be read and written; nothing is changed, and none is made.

    Whether all of a file is sound is looked at for ``limit`` seconds at most; None: as long as it takes.
    """
    if settings.store_url is not None:
        return _shared_finding(settings)
    path = settings.store
    try:
        check_location(path)
        if not path.exists():
            return _unmade(path)
        return _made(path, limit=limit)
    except StoreError as error:
        return wrong("store", error)
    except OSError as error:
        return wrong("store", StoreError(f"can't look at the event store {path}: {error.strerror}", hint=LOCATION_HINT))


def _shared_finding(settings: Settings) -> Finding:
    from contextlib import closing

    from callctl.store.opening import open_store

    try:
        with closing(open_store(settings)) as store:
            store.check_writable()
    except StoreError as error:
        return wrong("store", error)
    return fine("store", f"{settings.store_name} can be read and written")


def undelivered_findings(settings: Settings, *, now: Callable[[], datetime]) -> Iterator[Finding]:
    """Warn of callbacks that ``--forward-to`` could not pass on; yield nothing if there are none."""
    from contextlib import closing

    from callctl.store.opening import open_readonly

    try:
        store = open_readonly(settings)
        if store is None:
            return
        with closing(store):
            failed = [event for request, event in store.undelivered(now=now()) if not request.tried_for]
    except StoreError:  # the check of the store says so
        return
    if failed:
        callbacks = "1 callback is" if len(failed) == 1 else f"{len(failed)} callbacks are"
        text = f"{callbacks} kept that could not be passed on to an application"
        fix = "callctl replay --failed --to URL" if settings.is_store_found else "callctl replay --failed"
        yield warning("forwarding", text, fix=fix, count=len(failed))


def _unmade(path: Path) -> Finding:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        return wrong("store", StoreError(f"{path} can't be made: {folder} can't be written to", hint=LOCATION_HINT))
    check_no_log_alone(path)
    finding = _in_open_folder(path) or fine("store", f"{path} is not there yet; a watch makes it, for you alone")
    return _with_room(finding, folder)


def _made(path: Path, *, limit: float | None) -> Finding:
    from callctl.store.sqlite.connection import check_writable
    from callctl.store.sqlite.file_checks import check_sound

    status = path.stat()
    mode = status.st_mode & 0o777
    for what, folder in ((path, False), (path.parent, True)):
        if not os.access(what, os.R_OK | os.W_OK | (os.X_OK if folder else 0)):
            return wrong(
                "store",
                StoreError(
                    f"{what} can't be read and written by you (mode {what.stat().st_mode & 0o777:03o})",
                    hint=LOCATION_HINT,
                ),
            )
    is_current = check_writable(path)
    check_sound(path, limit=limit)
    if not has_own_owner(status):
        return warning("store", f"{path} is another user's ({status.st_uid})", fix=LOCATION_HINT)
    if mode & _OTHERS:
        return warning(
            "store",
            f"{path} is open to others on this machine (mode {mode:03o})",
            fix=_closed(path) if is_mine(status) else LOCATION_HINT,
            mode=f"{mode:03o}",
        )
    old = "" if is_current else "; the next watch brings it up to date"
    finding = _in_open_folder(path) or fine("store", f"{path}, for you alone{old}", mode=f"{mode:03o}")
    return _with_room(finding, path.parent)


def _in_open_folder(path: Path) -> Finding | None:
    """Return a warning for a store that others could replace by another one; None if they can't."""
    for folder in path.absolute().parents:
        if not folder.exists():
            continue
        status = folder.stat()
        mode = status.st_mode
        if folder == path.absolute().parent and not has_own_owner(status):
            return warning(
                "store",
                f"{path} may be changed by another user ({status.st_uid}), whose folder it is in",
                fix=LOCATION_HINT,
            )
        # In a folder like /tmp others can't remove what is not theirs; but they can put a log beside a store.
        if mode & OTHERS_WRITE and (folder == path.absolute().parent or not mode & stat.S_ISVTX):
            return warning(
                "store",
                f"{path} may be changed by others on this machine: they may write to {folder} (mode "
                f"{stat.S_IMODE(mode):03o})",
                fix=f"chmod go-w {shlex.quote(str(folder))}, or name another file with CALLCTL_STORE"
                if is_mine(status)
                else LOCATION_HINT,
            )
    return None


def _with_room(finding: Finding, folder: Path) -> Finding:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_files and not disk.f_favail:  # some file systems have no limit, and say 0 of both
        what, hint = "can take no more files (no inodes left)", "remove files on that disk; df -i shows them"
    elif free < _LEAST_SPACE:
        what, hint = f"has {free // 1024} kB left", "make room on the disk"
    else:
        return finding
    return wrong("store", CallctlError(f"{folder} {what}: events that can't be kept are refused", hint=hint))
