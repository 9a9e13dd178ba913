"""A database that another program holds locked: Twilio has to send again, and people get the reason."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import aiohttp
from events import form
from listeners import PUBLIC, Reports, Start, sign


async def test_it_is_answered_with_500_until_it_is_free(
    start: Start, reports: Reports, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    listener = await start()
    fields = form(1, "ringing")

    async def status() -> int:
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            return answer.status

    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert [await status(), await status()] == [500, 500]
        assert reports.events == []
        (trouble,) = reports.troubles
        assert "database is locked; callbacks are answered with 500" in trouble
        other.execute("ROLLBACK")
        assert await status() == 204
    assert [event.status for event in await reports.of(1)] == ["ringing"]
