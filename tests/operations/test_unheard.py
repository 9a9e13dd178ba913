"""Waiting for a call that sends no callbacks, with a clock that goes on demand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from calls_api import UnexpectedRequest

from callctl.api.resources import Notification
from callctl.calls.call import EVENT_NAMES
from callctl.errors import NetworkError
from callctl.operations.missing_callbacks import Cause
from callctl.operations.unheard import Ordered, Unheard

SID = "CA" + "1" * 32
URL = "https://example.com/status"
NOTE = Notification("NO1", "21626", "warning", "", "https://docs", None, None)


class Scene(UnexpectedRequest):
    """A call, a clock, and what was asked and told."""

    def __init__(self, *, notes: Sequence[Notification] | NetworkError = (), ours: bool = True) -> None:
        self.now = 0.0
        self.heard: list[str] = []
        self.notes = notes
        self.asked = 0
        self.told: list[Cause] = []
        self.unheard = Unheard(
            Ordered(SID, URL, EVENT_NAMES),
            heard=lambda _sid: self.heard,
            api=self,
            deaf=lambda: "the tunnel may be down",
            is_ours=lambda: ours,
            tell=self.told.append,
            now=lambda: self.now,
        )

    def notifications(self, sid: str) -> list[Notification]:
        assert sid == SID
        self.asked += 1
        if isinstance(self.notes, NetworkError):
            raise self.notes
        return list(self.notes)

    def play(self, status: str, *, until: float) -> None:
        while self.now < until:
            self.now += 0.5
            self.unheard.look(status)


def test_after_ten_seconds_it_asks_once_and_tells_once() -> None:
    scene = Scene(notes=[NOTE])
    scene.play("in-progress", until=9.5)
    assert (scene.asked, scene.told) == (0, [])
    scene.play("in-progress", until=60)
    assert (scene.asked, [cause.code for cause in scene.told]) == (1, ["21626"])


def test_a_call_that_was_heard_of_is_not_asked_about() -> None:
    scene = Scene(notes=[NOTE])
    scene.heard = ["ringing"]
    scene.play("in-progress", until=60)
    assert (scene.asked, scene.told) == (0, [])


def test_a_queued_call_has_its_callbacks_time_once_it_is_dialled() -> None:
    scene = Scene(notes=[NOTE])
    scene.play("queued", until=30)
    scene.play("ringing", until=32)
    assert scene.asked == 0
    scene.play("ringing", until=34)
    assert scene.asked == 1


@pytest.mark.parametrize(("ours", "told"), [(True, 1), (False, 0)])
def test_where_nothing_was_noted_only_our_own_watch_is_spoken_for(ours: bool, told: int) -> None:
    scene = Scene(ours=ours)
    scene.play("in-progress", until=20)
    assert (scene.asked, len(scene.told)) == (1, told)
    assert all(cause.text.startswith("callbacks can't arrive: the tunnel may be down") for cause in scene.told)


def test_an_api_that_does_not_answer_ends_the_asking_alone() -> None:
    scene = Scene(notes=NetworkError("no answer"))
    scene.play("in-progress", until=60)
    assert (scene.asked, scene.told) == (1, [])
