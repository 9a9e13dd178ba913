"""An API that refuses whatever a test does not expect: tests derive their own from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Self

from callctl.api.calls_api import CallsApi
from callctl.api.requests import RedirectRequest
from callctl.api.resources import Notification
from callctl.calls.call import Call
from callctl.calls.filter import CallFilter


class UnexpectedRequest(CallsApi):
    """Fails the test with each request."""

    @property
    def server_time(self) -> datetime | None:
        return None

    def fetch(self, sid: str) -> Call:
        raise AssertionError(f"fetch {sid}")

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
        raise AssertionError(f"list {query} {page_size} {limit}")

    def hangup(self, sid: str) -> Call:
        raise AssertionError(f"hangup {sid}")

    def cancel(self, sid: str) -> Call:
        raise AssertionError(f"cancel {sid}")

    def redirect(self, sid: str, request: RedirectRequest) -> Call:
        raise AssertionError(f"redirect {sid} {request}")

    def limit_time(self, sid: str, seconds: int) -> Call:
        raise AssertionError(f"limit_time {sid} {seconds}")

    def while_wanted(self, _wanted: Callable[[bool], bool]) -> Self:
        return self  # each request is sent once

    def notifications(self, sid: str) -> list[Notification]:  # type: ignore[valid-type] # within the class, list is the method
        raise AssertionError(f"notifications {sid}")
