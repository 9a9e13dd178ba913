"""The word that a command and the watch or listener that runs keep events in different stores."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from callctl.cli.io.runtime import Runtime
from callctl.errors import CallctlError

if TYPE_CHECKING:
    from callctl.settings import Settings
    from callctl.watch.registry.record import WatchRecord


def warn_of_another_store(runtime: Runtime, settings: Settings) -> None:
    """Say once where a watch or a listener keeps events, if that is another store than the one of these settings.

    Its rules don't learn from there what a command does, and ``@last`` is another call. Files are read, and no request
    is sent: a hang-up must not wait.
    """
    with suppress(CallctlError, OSError):  # said where a watch is looked for
        if not (settings.state_dir / "watch").exists():  # nobody ever listened
            return
        from callctl.watch.registry.registry import listening_with_another_store

        if (record := listening_with_another_store(settings)) is not None:
            say_another_store(runtime, settings, record)


def say_another_store(runtime: Runtime, settings: Settings, record: WatchRecord) -> None:
    """Say once that the one of a record keeps events in another store than the one of these settings."""
    from callctl.watch.registry.registry import another_store_in_words

    what, fix = another_store_in_words(settings, record)
    runtime.say_once(f"callctl: warning: {what}; {fix}")
