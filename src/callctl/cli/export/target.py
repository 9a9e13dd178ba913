"""Where an export goes: stdout, a file that is named, or a new one in the working folder."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.cli.io.runtime import Runtime
from callctl.errors import CallctlError, UsageError, why_unreadable
from callctl.settings.own_folder import is_mine
from callctl.store.sqlite.location import BESIDE

if TYPE_CHECKING:
    from callctl.settings import Settings

_ENDINGS = {"html": "html", "mermaid": "md", "csv": "csv", "json": "json"}
TO_STDOUT = "-"


def check_output(runtime: Runtime, settings: Settings, output: str | None) -> None:
    """Refuse a file of callctl's own: the store with what SQLite has beside it, or what is in the state folder.

    Raises:
        UsageError: It is one.
    """
    if output in (None, TO_STDOUT):
        return
    path = os.path.realpath(runtime.cwd / output)
    own = [f"{os.path.realpath(settings.store)}{ending}" for ending in ("", *BESIDE)]
    is_own = any(path == one or _is_same_file(path, one) for one in own)
    if is_own or Path(path).is_relative_to(os.path.realpath(settings.state_dir)):
        raise UsageError(f"--output {output} is a file of callctl's own", hint="name another file, or - for stdout")


def _is_same_file(path: str, other: str) -> bool:
    try:
        return Path(path).samefile(other)
    except OSError:
        return False


@dataclass(frozen=True)
class Target:
    """Where a document goes: stdout, a file that is named, or a new one in the working folder."""

    runtime: Runtime
    format: str
    output: str | None

    def write(self, pieces: Iterable[str], *, name: str) -> Path | None:
        """Write a document; return its path, which is also said on stdout, or None where it went there itself.

        A file is replaced as a whole, once all of it is there; where a link leads to it, the link stays. What is no
        file, such as a device or a pipe, is written to as it is, and so is a file in a folder that takes no new one.

        Raises:
            CallctlError: The file can't be written. One that was made is removed again.
        """
        if self.output == TO_STDOUT:
            for piece in pieces:
                self.runtime.stdout.write(piece)
            self.runtime.stdout.flush()
            return None
        shown = Path(self.output) if self.output is not None else self._new_file(name)
        path = self.runtime.cwd / shown
        is_new = self.output is None
        try:
            _write_file(path, pieces)
        except BaseException as error:
            if is_new:
                with suppress(OSError):
                    path.unlink()
            if isinstance(error, OSError):
                raise self._unwritable(shown, error) from error
            raise
        self.runtime.write(str(shown))
        return path

    def _new_file(self, name: str) -> Path:
        """Make an empty file with a name that no other has, by a number where there is one, and return that name."""
        ending = _ENDINGS[self.format]
        for number in count(1):
            shown = Path(f"{name}{f'-{number}' if number > 1 else ''}.{ending}")
            try:
                os.close(os.open(self.runtime.cwd / shown, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            except FileExistsError:
                continue
            except OSError as error:
                raise self._unwritable(shown, error) from error
            return shown
        raise AssertionError("there is no end of numbers")

    def _unwritable(self, shown: Path, error: OSError) -> CallctlError:
        return CallctlError(
            f"can't write {shown}: {why_unreadable(error)}", hint="--output names another file, or - for stdout"
        )


def _write_file(path: Path, pieces: Iterable[str]) -> None:
    """Write a text into a new file beside another one, with its mode, and put it in its place at the end.

    Raises:
        OSError: That can't be done; the file is as it was.
    """
    real = Path(os.path.realpath(path))
    beside = _new_beside(path, real)
    if beside is None:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        return
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        beside.replace(real)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _new_beside(path: Path, real: Path) -> Path | None:
    """Make an empty file beside ``real``, where a path leads; return None where that is to be written to itself.

    That is so of what is no regular file, or is passed on as a device, of another user's file, whose owner would
    change, of one with several names, and where no other file can be made.

    Raises:
        OSError: The file can't be looked at, or this user may not write it.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    if status is not None:
        is_passed_on = path.is_relative_to("/dev") or path.is_relative_to("/proc")
        if is_passed_on or not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or not is_mine(status):
            return None
        path.open("a").close()  # one that may not be written is not replaced either
    beside = real.with_name(f".callctl-{secrets.token_hex(8)}")
    try:
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        if status is not None:
            beside.chmod(stat.S_IMODE(status.st_mode))
    except PermissionError:
        return None
    return beside
