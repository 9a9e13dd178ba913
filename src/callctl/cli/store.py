"""``callctl store``: whether the event store works, and the schema of one in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from callctl.cli import exits
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options import common
from callctl.errors import SettingsError

if TYPE_CHECKING:
    from callctl.settings import Settings


def store(
    ctx: typer.Context, env_file: common.EnvFile = None, json: common.Json = False, debug: common.Debug = False
) -> None:
    """Check the event store; the same as `callctl store check`."""
    if ctx.invoked_subcommand is not None:
        return
    _check(common.runtime_of(ctx, json=json, debug=debug), env_file=env_file)


def check(
    ctx: typer.Context, env_file: common.EnvFile = None, json: common.Json = False, debug: common.Debug = False
) -> None:
    """Say where events are kept, and whether callctl can read and write there.

    Of a store in a file also whether all of it is sound, which may take a while. Of one in PostgreSQL also the version
    of its schema, and settings of the server under which an event that was answered for may be lost. Nothing is
    changed. Exit code 1: something is wrong.
    """
    _check(common.runtime_of(ctx, json=json, debug=debug), env_file=env_file)


def migrate(
    ctx: typer.Context, env_file: common.EnvFile = None, json: common.Json = False, debug: common.Debug = False
) -> None:
    """Make the schema `callctl` in the database that CALLCTL_STORE names, or bring it up to date.

    It is one transaction under a lock: of several that are started at once one does it. Listeners of the version before
    go on meanwhile and afterwards. The user needs the right to create in the database; others then need those that
    docs/postgresql.md lists. A store in a file needs none of this.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug)
    settings = runtime.settings(env_file=env_file)
    if settings.store_url is None:
        raise SettingsError(
            f"the event store is a file, {settings.store_name}: it needs no migration",
            hint="CALLCTL_STORE=postgresql://… names a store that many machines share",
        )
    from callctl.store.postgresql.maintenance import migrate as migrate_schema

    before, after = migrate_schema(settings.store_url)
    done = "is made" if before == 0 else "was up to date" if before == after else f"was of version {before}"
    _write(runtime, f"the schema in {settings.store_name} {done}: version {after}", before=before, version=after)


def _check(runtime: Runtime, *, env_file: common.EnvFile) -> None:
    settings = runtime.settings(env_file=env_file)
    troubles, version = _checked(settings)
    if runtime.form is Form.JSON:
        record = {"v": 1, "type": "store", "store": settings.store_name, "version": version, "troubles": troubles}
        runtime.write_json(record)
    else:
        for text in troubles:
            runtime.stdout.write(f"✗ {text}\n")
        if not troubles:
            schema = "" if version is None else f"; its schema is of version {version}"
            runtime.stdout.write(f"✓ {settings.store_name} can be read and written{schema}\n")
    if troubles:
        raise typer.Exit(exits.FAILURE)


def _checked(settings: Settings) -> tuple[list[str], int | None]:
    """Return what is wrong with the store, with what to do about it, and the version of a database's schema."""
    if settings.store_url is not None:
        from callctl.store.postgresql.maintenance import check

        return check(settings.store_url, world=settings.world)
    from callctl.doctor.files import store_finding
    from callctl.views.doctor_finding import Level

    finding = store_finding(settings, limit=None)
    text = " ".join(filter(None, (finding.text, f"({finding.fix})")))
    return ([] if finding.level == Level.FINE else [text]), None


def _write(runtime: Runtime, text: str, **fields: int) -> None:
    if runtime.form is Form.JSON:
        runtime.write_json({"v": 1, "type": "store", **fields})
    else:
        runtime.stdout.write(f"{text}\n")
