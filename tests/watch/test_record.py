"""The record by which ``place`` finds a watch is rewritten where it is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from watches import running_watch, settings_in, until

from callctl.calls.watch_trouble import Cause
from callctl.support.threads import run_in_thread
from callctl.watch import registry
from callctl.watch.options import WatchOptions


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.session.RECORD_INTERVAL", 0.01)


@pytest.mark.parametrize("is_all", [False, True], ids=["records", "state folder"])
async def test_a_watch_is_found_again_after_its_record_was_removed(tmp_path: Path, is_all: bool) -> None:
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as watch:
        await watch.view.until(lambda view: view.began is not None)
        shutil.rmtree(settings.state_dir if is_all else settings.state_dir / "watch")
        await watch.view.until_noted("was gone, and is written again")
        assert [one.cause for one in watch.view.resolved if one.cause == Cause.RECORD] == [Cause.RECORD]
        record = await run_in_thread(lambda: registry.find(settings))
        assert record is not None
        assert (record.nonce, record.callback_url) == (watch.session.listener_config.nonce, watch.ready.callback_url)
    assert list(settings.state_dir.glob("watch/*")) == []


async def test_why_it_can_not_be_written_is_reported_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    folder = settings.state_dir / "watch"
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as watch:
        shutil.rmtree(folder)
        folder.write_text("in its place")
        await watch.view.until_noted("`place` does not find this watch: can't write the record")
        folder.unlink()
        await watch.view.until_noted("was gone, and is written again")
        await until(lambda: len(list(folder.glob("*.json"))) == 1)
        (trouble,) = watch.view.troubles
        assert trouble.cause == Cause.RECORD
