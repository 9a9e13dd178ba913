"""What the keys of the live table do with calls: by the operations of the commands, each leg only as it was meant."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue

import pytest
from api.scripted import ReceivedRequest, Server, Turn, drop, hang, reply
from cli.setup import ANSWERS, LONG, NEVER, UNKNOWN, CliSetup
from events import event, sid
from running import env_for
from thread_limit import ThreadLimit

from callctl.calls.action import UNKNOWN as OUTCOME_UNKNOWN
from callctl.calls.action import ActionEvent
from callctl.calls.board import Board, Snapshot
from callctl.cli.io.runtime import Runtime
from callctl.cli.options import calls
from callctl.cli.options.history import History
from callctl.cli.watch.operator import SENT_WITHIN, TableOperator
from callctl.errors import StoreAwayError
from callctl.operations.redirect import child_goes_on
from callctl.settings import load
from callctl.store.sqlite.store import SqliteStore
from callctl.support.identity import user_at_host
from callctl.views.live.intents import ActionOutcome, HangUp, Redirect, Target

LIMIT = 60.0  # seconds
RINGS, TALKS = "ringing", "in-progress"
REDIRECTED_AT = datetime(2026, 7, 24, 10, 0, 1, tzinfo=UTC)


class Table:
    """An operator at a simulator whose time passes on demand, and what it reports."""

    def __init__(self, setup: CliSetup, *, api_url: str = "", sent_within: float = SENT_WITHIN) -> None:
        self.setup, self.sent_within = setup, sent_within
        self.api = {"CALLCTL_API_URL": api_url} if api_url else {}
        self.reports: SimpleQueue[ActionOutcome] = SimpleQueue()
        self.last = ActionOutcome("")
        self.pages: SimpleQueue[list[str]] = SimpleQueue()
        self.said = io.StringIO()
        self.operator = self._operator()

    def _operator(self) -> TableOperator:
        environ = {"HOME": str(self.setup.home), **env_for(self.setup.simulator), **self.api}
        environ["CALLCTL_URL_SURVEY"] = self.setup.survey
        self.settings = load(environ, cwd=self.setup.home)
        self.runtime = runtime = Runtime(
            environ, self.setup.home, io.StringIO(), io.StringIO(), self.said, back_off=self.back_off
        )
        return TableOperator(
            runtime, lambda: self.settings, listens=True, may_act=True, stop=lambda: None, sent_within=self.sent_within
        )

    def back_off(self, _seconds: float) -> None:
        """Wait no time between two tries."""

    def act(self, intent: HangUp | Redirect, *, question_at: datetime | None = None) -> str:
        """Carry out an intent, and return what is reported in the end."""
        self.begin(intent, question_at=question_at)
        self.last = self.reports.get(timeout=LIMIT)
        return self.last.sentence

    def begin(self, intent: HangUp | Redirect, *, question_at: datetime | None = None) -> None:
        self.operator.act(intent, question_at=question_at or datetime.now(UTC), report=self.reports.put)

    def put(self, intent: HangUp | Redirect) -> None:
        """Put the question, and wait until it is known what the store had then."""
        self.operator.put_question(intent, last_action=None)
        question = self.operator._question
        assert question is not None
        end = time.monotonic() + LIMIT
        while question.last_action is None:
            assert time.monotonic() < end
            time.sleep(0.01)

    def hang_up(
        self,
        *targets: tuple[str, str] | tuple[str, str, str],
        is_family: bool = False,
        question_at: datetime | None = None,
    ) -> str:
        """End legs: each has its SID, its status, and its parent's SID if it has one."""
        intent = HangUp(tuple(Target(*target) for target in targets), is_family=is_family)
        return self.act(intent, question_at=question_at)

    def redirect(self, *sids: str, url: str = "survey") -> str:
        return self.act(Redirect(tuple(Target(sid, TALKS) for sid in sids), url))

    @property
    def sent(self) -> list[tuple[str, dict[str, tuple[str, ...]]]]:
        """What was sent to change calls: the SID and the form of each request."""
        return [(one.path[-39:-5], dict(one.form)) for one in self.setup.sent()]


@pytest.fixture
def table(setup: CliSetup) -> Iterator[Table]:
    yield Table(setup)


def test_a_ringing_leg_is_canceled_and_one_in_progress_completed(table: Table) -> None:
    rings, talks = table.setup.place(NEVER, after=1), table.setup.place(ANSWERS, after=5)
    assert table.hang_up((rings, RINGS)).startswith(f"ended: {rings} is canceled")
    assert table.hang_up((talks, TALKS)).startswith(f"ended: {talks} is completed")
    assert table.sent == [(rings, {"Status": ("canceled",)}), (talks, {"Status": ("completed",)})]
    shown = table.setup.callctl("show", rings).out
    assert "cancel" in shown  # recorded, as the command's would be


def test_what_finds_no_thread_is_said_and_can_be_done_later(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    why = "not done: the system lets callctl start no further thread; end other programs of this user"
    talks = table.setup.place(ANSWERS, after=5)
    limit = ThreadLimit(monkeypatch, left=0)
    assert table.hang_up((talks, TALKS)).startswith(why)
    assert table.last.unchanged == {talks}
    table.operator.load_page(talks, 80, lambda lines: table.pages.put(list(lines)))
    (line,) = table.pages.get(timeout=LIMIT)
    assert line.startswith(why)
    for left in (1, 2):  # none for the work on the leg, or none for its request
        limit.left = left
        assert "the system lets callctl start no further thread; end other" in table.hang_up((talks, TALKS))
    assert table.sent == []
    table.operator.close()
    assert table.said.getvalue() == ""  # nothing is in flight
    limit.left = 1000
    assert table.hang_up((talks, TALKS)).startswith(f"ended: {talks} is completed")


def test_a_leg_that_was_answered_is_left_in_progress(table: Table) -> None:
    sid = table.setup.place(ANSWERS, after=5)
    assert (
        table.hang_up((sid, RINGS)) == f"not ended: {sid} is in progress; `callctl hangup {sid}` ends it all the same"
    )
    assert table.setup.status(sid) == TALKS


@pytest.mark.parametrize("status", [TALKS, RINGS])
def test_a_leg_that_is_over_is_not_sent_for_twice(table: Table, status: str) -> None:
    sid = table.setup.place(ANSWERS, after=5)
    table.setup.callctl("hangup", sid)
    before = table.sent
    assert f"{sid} is completed" in table.hang_up((sid, status), question_at=datetime.now(UTC) + timedelta(seconds=1))
    sent = table.sent[len(before) :]
    assert sent in ([], [(sid, {"Status": ("canceled",)})])  # of one that rang the API decides
    assert (sent == []) is (status == TALKS)


def test_a_leg_that_was_queued_is_left_ringing(table: Table) -> None:
    """A poll reported it as queued, and no callback has come since."""
    rings = table.setup.place(NEVER, after=1)
    queued = table.setup.place(NEVER)
    assert [table.setup.status(sid) for sid in (queued, rings)] == ["queued", RINGS]
    said = table.hang_up((rings, "queued"))
    assert said == f"left alone: {rings} is ringing by now and no longer matches"
    assert table.hang_up((queued, "queued")).startswith(f"ended: {queued} is canceled")
    assert [sid for sid, _ in table.sent] == [queued]


@pytest.mark.parametrize(
    "change",
    [
        lambda setup, sid: setup.callctl("redirect", sid, "--url", "survey"),
        lambda setup, sid: setup.callctl("hangup", sid),
    ],
)
def test_a_leg_that_was_changed_since_the_question_was_put_is_left_alone(
    table: Table, change: Callable[[CliSetup, str], object]
) -> None:
    sid = table.setup.place(ANSWERS, after=5)
    question_at = datetime.now(UTC)
    change(table.setup, sid)
    before = table.sent
    assert table.hang_up((sid, TALKS), question_at=question_at).startswith(f"left alone: {sid} was changed meanwhile")
    assert table.act(Redirect((Target(sid, TALKS),), "survey"), question_at=question_at).startswith(
        f"left alone: {sid}"
    )
    assert table.sent == before


@pytest.mark.parametrize("wrong", [timedelta(hours=1), timedelta(hours=-1)], ids=str)
def test_what_colleagues_do_is_before_or_after_the_question_whatever_their_clocks_say(
    table: Table, wrong: timedelta
) -> None:
    before, after = table.setup.place(ANSWERS, after=5), table.setup.place(ANSWERS)
    store = SqliteStore.open_for_watch(table.settings.store, world=table.settings.world)

    def redirect(sid: str) -> None:
        store.record_actions([ActionEvent(datetime.now(UTC) + wrong, sid, "redirect", (), "to survey", TALKS)])

    with closing(store):
        redirect(before)
        intent = Redirect((Target(before, TALKS), Target(after, TALKS)), "survey")
        table.put(intent)
        redirect(after)
        said = table.act(intent)
    assert said.startswith(("1 redirected to survey, 1 left alone", "1 left alone, 1 redirected"))
    assert f"{after} was changed meanwhile" in said
    assert [sid for sid, _ in table.sent] == [before]


def test_what_was_not_shown_yet_when_the_question_was_put_is_after_it_but_not_what_the_table_did_itself(
    table: Table,
) -> None:
    shown, other, own = (table.setup.place(ANSWERS, after=after) for after in (5, 0, 0))
    store = SqliteStore.open_for_watch(table.settings.store, world=table.settings.world)

    def redirect(sid: str, by: str) -> None:
        action = ActionEvent(datetime.now(UTC), sid, "redirect", (), "to survey", TALKS, by=by)
        store.record_actions([action])

    intent = Redirect(tuple(Target(sid, TALKS) for sid in (shown, other, own)), "survey")
    with closing(store):
        redirect(shown, "ann@example")
        last = store.last_action_id()
        redirect(other, "ann@example")
        redirect(own, user_at_host())
        table.operator.put_question(intent, last_action=last)
        said = table.act(intent)
    assert f"{other} was changed meanwhile by ann@example" in said
    assert sorted(sid for sid, _ in table.sent) == sorted([shown, own])


def test_of_several_legs_each_is_held_to_its_own_status(table: Table) -> None:
    rings, talks = table.setup.place(NEVER, after=1), table.setup.place(ANSWERS, after=5)
    answered, over = table.setup.place(ANSWERS, after=5), table.setup.place(ANSWERS, after=5)
    table.setup.callctl("hangup", over)
    later = datetime.now(UTC) + timedelta(hours=1)
    said = table.hang_up((rings, RINGS), (talks, TALKS), (answered, RINGS), (over, TALKS), question_at=later)
    assert set(said.partition(";")[0].split(", ")) == {"2 ended", "1 not ended", "1 already over"}
    assert [table.setup.status(sid) for sid in (rings, talks, answered)] == ["canceled", "completed", TALKS]
    assert table.last.unchanged == {answered}


def test_of_a_family_the_parent_is_ended_first(table: Table) -> None:
    parent, child = table.setup.dialled()
    table.hang_up((parent, TALKS), (child, TALKS, parent), is_family=True)
    assert table.sent[0] == (parent, {"Status": ("completed",)})
    assert [table.setup.status(sid) for sid in (parent, child)] == ["completed", "completed"]


def test_of_marked_legs_parents_are_ended_before_their_children(table: Table) -> None:
    families = [table.setup.dialled() for _ in range(2)]
    legs = [(child, TALKS, parent) for parent, child in families]
    table.hang_up(*legs, *((parent, TALKS) for parent, _ in families))
    assert {sid for sid, _ in table.sent} == {parent for parent, _ in families}  # which has ended their children
    assert {table.setup.status(sid) for family in families for sid in family} == {"completed"}


def test_of_marked_legs_children_are_redirected_before_their_parents_which_would_drop_them(table: Table) -> None:
    more = "<Response><Dial><Client>ann</Client></Dial><Pause length='60'/></Response>"
    parent = table.setup.place(ANSWERS, "--twiml", more, after=5)
    child = table.setup.callctl("list", "--parent", parent, "-q").out.strip()
    assert (
        table.act(Redirect((Target(parent, TALKS), Target(child, TALKS, parent)), "survey")) == "2 redirected to survey"
    )
    assert [sid for sid, _ in table.sent] == [child, parent]


def test_a_leg_is_redirected_to_a_named_url_and_to_one_that_was_typed(table: Table) -> None:
    named, typed = table.setup.place(ANSWERS, after=5), table.setup.place(ANSWERS, after=5)
    assert table.redirect(named) == f"redirected to survey: {named} is in-progress"
    assert table.redirect(typed, url=table.setup.survey).startswith("redirected to http")
    assert table.last.unchanged == frozenset()
    assert [(sid, form["Url"]) for sid, form in table.sent] == [(sid, (table.setup.survey,)) for sid in (named, typed)]


def test_what_can_not_work_is_reported_with_its_hint(table: Table) -> None:
    said = table.hang_up((UNKNOWN, RINGS))
    assert said.startswith("not done: ")
    assert UNKNOWN in said
    assert "`callctl list" in said  # where to look, as the command has it
    sid = table.setup.place(ANSWERS, after=5)
    assert "no URL is named 'nowhere' (known: survey); set CALLCTL_URL_NOWHERE" in table.redirect(sid, url="nowhere")
    over = table.setup.place(ANSWERS, after=5)
    table.setup.callctl("hangup", over)
    assert over in table.redirect(over)
    assert table.setup.status(over) == "completed"


def test_a_fault_of_its_own_is_reported_and_ends_nothing(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("callctl.cli.watch.operator.hang_up", fail)
    sid = table.setup.place(NEVER, after=1)
    assert "out of order" in table.hang_up((sid, RINGS))
    assert table.last.unchanged == {sid}


# Actions in flight


class Asked(Server):
    """An API that says when it was first asked for something."""

    def __init__(self, *turns: Turn) -> None:
        self.asked = threading.Event()
        super().__init__(*turns)

    def take(self, request: ReceivedRequest) -> Turn:
        turn = super().take(request)
        self.asked.set()
        return turn


def test_what_is_in_flight_when_the_table_is_left_is_said_and_recorded(setup: CliSetup) -> None:
    sid = setup.place(NEVER, after=1)
    setup.add_callback(sid, RINGS, at=datetime.now(UTC))
    with Asked(hang()) as api:
        table = Table(setup, api_url=api.url)
        table.begin(HangUp((Target(sid, RINGS),)))
        assert api.asked.wait(LIMIT)
        table.operator.close()
        unclear = f"callctl: the hang-up of {sid} was sent; its outcome is unknown: `callctl show {sid}`\n"
        assert table.said.getvalue() == unclear
        with History(table.runtime, table.settings, readonly=True) as history:
            change = history.actions(sid)[-1]
        assert (change.result, change.outcome) == (OUTCOME_UNKNOWN, "outcome unknown: the answer was not waited for")


def test_what_was_not_sent_when_the_table_is_left_is_never_sent(setup: CliSetup) -> None:
    sid = setup.place(ANSWERS, after=5)
    setup.add_callback(sid, TALKS, at=datetime.now(UTC))
    with Asked(hang(), reply(200, {"sid": sid, "status": TALKS})) as api:
        table = Table(setup, api_url=api.url)
        table.begin(HangUp((Target(sid, TALKS),)))
        assert api.asked.wait(LIMIT)
        table.operator.close()
        assert table.said.getvalue() == f"callctl: the hang-up of {sid} was not sent\n"
        api.released.set()
        assert table.reports.get(timeout=LIMIT).sentence == f"not sent: the hang-up of {sid}: the table was left"
        assert {one.method for one in api.received} == {"GET"}


def test_what_is_done_in_the_moment_of_leaving_is_said(table: Table) -> None:
    sid = table.setup.place(ANSWERS, after=5)
    table.begin(HangUp((Target(sid, TALKS),)))
    table.operator.close()
    said, reported = table.said.getvalue(), table.reports.get(timeout=LIMIT).sentence
    assert reported.startswith(f"ended: {sid} is completed")
    assert said in (f"callctl: {reported}\n", "")  # nothing where it was done before


class Forbidding(Server):
    """Changes whatever it is asked to, but for one call: that is refused, with a bare 403 unless told otherwise."""

    def __init__(self, refused: str, turn: Turn = reply(403)) -> None:  # noqa: B008 # it has no state
        super().__init__(reply(404))
        self._refused, self._turn = refused, turn

    @property
    def changed(self) -> set[str]:
        """The calls that were to be changed."""
        posts = [request.path for request in self.received if request.method == "POST"]
        return {path.rpartition("/")[2].removesuffix(".json") for path in posts}

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        asked = request.path.rpartition("/")[2].removesuffix(".json")
        if request.method == "POST" and asked == self._refused:
            return self._turn
        return reply(200, {"sid": asked, "status": TALKS if request.method == "GET" else "completed"})


def test_a_child_that_is_forbidden_hides_nothing_of_what_was_done_to_its_parent(setup: CliSetup) -> None:
    parent, child = sid(1), sid(2)
    with Forbidding(child) as api:
        table = Table(setup, api_url=api.url)
        said = table.hang_up((parent, TALKS), (child, TALKS, parent), is_family=True)
    assert said.startswith("1 ended, 1 not done; ")
    assert table.last.unchanged == frozenset({child})


@pytest.mark.parametrize("turn", [reply(400, {"code": 20001}), reply(409), drop()])
def test_a_child_is_left_alone_whose_parent_was_not_ended(setup: CliSetup, turn: Turn) -> None:
    parent, child, grandchild = sid(1), sid(2), sid(3)
    with Forbidding(parent, turn) as api:
        table = Table(setup, api_url=api.url)
        legs = ((grandchild, TALKS, child), (child, TALKS, parent), (parent, TALKS))
        said = table.hang_up(*legs)
        assert api.changed == {parent}
    assert "2 left alone" in said
    assert table.last.unchanged == frozenset({parent, child, grandchild})


@pytest.mark.parametrize("turn", [reply(400, {"code": 20001}), reply(409), drop()])
def test_a_parent_is_left_alone_whose_child_was_not_redirected(setup: CliSetup, turn: Turn) -> None:
    parent, child = sid(1), sid(2)
    with Forbidding(child, turn) as api:
        table = Table(setup, api_url=api.url)
        said = table.act(Redirect((Target(parent, TALKS), Target(child, TALKS, parent)), "survey"))
        assert api.changed == {child}
    assert "1 left alone" in said
    assert table.last.unchanged == frozenset({parent, child})


def test_of_a_leg_whose_outcome_is_unknown_it_is_not_said_that_nothing_was_done(setup: CliSetup) -> None:
    parent, child = sid(1), sid(2)
    with Forbidding(parent, drop()) as api:
        table = Table(setup, api_url=api.url)
        table.hang_up((child, TALKS, parent), (parent, TALKS))
    assert any(f"its parent {parent} may not have been ended" in text for text in table.last.unrecorded)
    with Forbidding(child, drop()) as api:
        table = Table(setup, api_url=api.url)
        table.act(Redirect((Target(parent, TALKS), Target(child, TALKS, parent)), "survey"))
    assert any(f"its child leg {child} may not have been redirected" in text for text in table.last.unrecorded)


@pytest.mark.parametrize("verified", [True, False])
def test_only_a_verified_callback_says_that_a_child_is_over(setup: CliSetup, verified: bool) -> None:
    parent, child = sid(1), sid(2)
    with Forbidding(child, reply(409)) as api:
        table = Table(setup, api_url=api.url)
        at, env = datetime.now(UTC), {"CALLCTL_API_URL": api.url}
        setup.add_callback(child, "completed", at=at, parent=parent, verified=verified, env=env)
        table.act(Redirect((Target(parent, TALKS), Target(child, TALKS, parent)), "survey"))
        assert (parent in api.changed) == verified


@pytest.mark.parametrize("turn", [reply(200, b"<html>"), reply(500, b""), drop()])
def test_what_may_have_been_done_is_not_said_to_be_undone(setup: CliSetup, turn: Turn) -> None:
    with Server(turn) as api:
        said = Table(setup, api_url=api.url).hang_up((UNKNOWN, RINGS))
    assert said.startswith(f"outcome unknown: {UNKNOWN}: ")
    assert f"; the call may have been ended; look: `callctl show {UNKNOWN}`" in said


@pytest.mark.parametrize("opens", [False, True])
def test_where_others_changes_could_not_be_read_an_action_says_so(
    table: Table, monkeypatch: pytest.MonkeyPatch, opens: bool
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise StoreAwayError("can't reach the event store")

    ends, goes_on, other = (table.setup.place(ANSWERS, after=after) for after in (0, 0, 5))
    SqliteStore.open_for_watch(table.settings.store, world=table.settings.world).close()
    intents: list[HangUp | Redirect] = [
        HangUp((Target(ends, TALKS),)),
        Redirect((Target(goes_on, TALKS),), "survey"),
        Redirect((Target(goes_on, TALKS), Target(other, TALKS)), "survey"),
    ]
    doubt = "; the event store could not be read, so others may have changed it meanwhile"
    for intent in intents:
        table.operator.put_question(intent, last_action=0)
        with monkeypatch.context() as patched:
            if opens:
                patched.setattr(SqliteStore, "actions_after", fail)
            else:
                patched.setattr(calls, "open_existing", fail)
            said = table.act(intent)
        assert said.endswith(doubt)
        assert said.count(doubt) == 1
    assert sorted(sid for sid, _ in table.sent) == sorted([ends, goes_on, goes_on, other])


def test_what_could_not_be_sent_in_time_is_not_sent_any_more(setup: CliSetup) -> None:
    sid = setup.place(ANSWERS, after=5)
    with Server(hang()) as api:
        table = Table(setup, api_url=api.url, sent_within=0.2)
        said = table.hang_up((sid, TALKS))
        assert said == f"not sent: the hang-up of {sid}: the API did not answer in 0.2 s"
        assert (list(table.last.unrecorded), set(table.last.unchanged)) == ([said], {sid})
        assert {one.method for one in api.received} <= {"GET"}  # on a busy machine not even that in time


@pytest.mark.parametrize("intent", [HangUp((Target(UNKNOWN, RINGS),)), Redirect((Target(UNKNOWN, TALKS),), "survey")])
@pytest.mark.parametrize("status", [429, 503])
def test_a_request_is_not_repeated_once_its_time_is_over(
    setup: CliSetup, intent: HangUp | Redirect, status: int
) -> None:
    class Slow(Table):
        def back_off(self, _seconds: float) -> None:
            for action in self.operator._in_flight:
                action.confirmed_at -= 60

    with Server(reply(status)) as api:
        table = Slow(setup, api_url=api.url)
        said = table.act(intent)
        assert len(api.received) == 1
        if status == 429:
            assert said.startswith("not sent: the ")
        else:
            assert "known" in said  # it is not known whether it was carried out


def test_what_is_recorded_of_several_legs_is_not_told_apart(table: Table) -> None:
    ended, left = table.setup.place(ANSWERS, after=5), table.setup.place(ANSWERS, after=5)
    table.setup.add_callback(ended, TALKS, at=datetime.now(UTC))
    table.setup.callctl("hangup", left)
    table.hang_up((ended, TALKS), (left, TALKS), question_at=datetime.now(UTC) + timedelta(hours=1))
    assert [left in sentence for sentence in table.last.unrecorded] == [True]


def test_the_page_of_a_leg_is_what_the_store_has_and_then_all_of_it(table: Table) -> None:
    sid = table.setup.place(ANSWERS, after=5)
    table.operator.load_page(sid, 80, lambda lines: table.pages.put(list(lines)))
    first, whole = table.pages.get(timeout=LIMIT), table.pages.get(timeout=LIMIT)
    assert "… loading what REST knows of it" in first
    assert any(sid in line for line in whole)
    assert max(map(len, whole)) <= 80
    table.operator.load_page(UNKNOWN, 80, lambda lines: table.pages.put(list(lines)))
    assert "… loading what REST knows of it" in table.pages.get(timeout=LIMIT)
    assert any(line.startswith("not done:") for line in table.pages.get(timeout=LIMIT))


@pytest.mark.parametrize(
    ("children", "redirected", "on_hang_up", "on_redirect"),
    [
        (1, 0, "its child leg to client:ann1 drops", ", and the Dial's action, if it has one, is requested as well"),
        (1, 1, f"its child leg to client:ann1 {child_goes_on(REDIRECTED_AT)}", ""),
        (2, 0, "its 2 child legs drop", ", and the Dial's action, if it has one, is requested as well"),
        (2, 2, "its 2 child legs go on: they were redirected out of the Dial", ""),
        (
            3,
            1,
            "2 of its 3 child legs drop; 1 goes on, redirected out of the Dial before",
            ", and the Dial's action, if it has one, is requested as well",
        ),
    ],
)
def test_what_becomes_of_the_children_is_said_by_what_is_known(
    table: Table, children: int, redirected: int, on_hang_up: str, on_redirect: str
) -> None:
    board = Board()
    board.apply(event(1, TALKS, number=1))
    numbers = range(2, 2 + children)
    for number in numbers:
        board.apply(event(number, TALKS, number=1, parent=1, To=f"client:ann{number - 1}"))
        table.setup.add_callback(sid(number), TALKS, at=datetime.now(UTC))
    store = SqliteStore.open_for_watch(table.settings.store, world=table.settings.world)
    gone = [sid(number) for number in numbers[:redirected]]
    store.record_actions(ActionEvent(REDIRECTED_AT, child, "redirect", (), "to survey", TALKS) for child in gone)
    store.close()
    target = (Target(sid(1), TALKS),)
    assert table.operator.effects(HangUp(target), board.snapshot()) == on_hang_up
    assert table.operator.effects(Redirect(target, "survey"), board.snapshot()) == on_hang_up + on_redirect


@pytest.mark.parametrize(
    ("status", "effect"),
    [
        (TALKS, "its parent goes on with the Dial's action, else"),
        ("completed", None),
        ("", "its parent, if it is live, goes on with the Dial's action, else"),
    ],
)
def test_what_becomes_of_the_parent_is_said_unless_it_is_over(table: Table, status: str, effect: str | None) -> None:
    """A leg that left its Dial may have outlived the caller."""
    board = Board()
    if status:
        board.apply(event(1, status, number=1))
    board.apply(event(2, TALKS, number=1, parent=1, To="client:ann"))
    target = (Target(sid(2), TALKS, sid(1)),)
    for intent in (HangUp(target), Redirect(target, "survey")):
        said = table.operator.effects(intent, board.snapshot())
        assert said.startswith(effect) if effect else said == ""


def test_without_other_legs_nothing_is_said_of_them(table: Table) -> None:
    assert table.operator.effects(HangUp((Target(UNKNOWN, RINGS),)), Snapshot()) == ""
    assert list(table.operator.urls) == ["survey"]


@pytest.mark.parametrize("dialled", ["nothing behind", "an action", "not known"])
def test_both_legs_of_a_dial_are_redirected_only_where_the_parent_may_have_a_turn(table: Table, dialled: str) -> None:
    placed = {
        "nothing behind": ("--dial", "client:ann"),
        "an action": ("--dial", "client:ann", "--then", "survey"),
        "not known": ("--twiml", f"<Response><Dial><Client>ann</Client></Dial><Say>{LONG}</Say></Response>"),
    }
    parent = table.setup.place(ANSWERS, *placed[dialled], after=5)
    child = table.setup.callctl("list", "--parent", parent, "-q").out.strip()
    intent = Redirect((Target(parent, TALKS), Target(child, TALKS, parent)), "survey")
    effects = table.operator.effects(intent, Snapshot())
    sentence = table.act(intent)
    if dialled != "nothing behind":
        warning = "both legs of a Dial: a parent without an action hangs up before its turn"
        assert effects == ("" if dialled == "an action" else warning)
        assert sentence == "2 redirected to survey"
        assert [sid for sid, _ in table.sent] == [child, parent]
    else:
        assert effects == f"both legs of a Dial: it has no action, so {parent} would hang up before its turn"
        assert sentence.startswith(f"{parent} would hang up before its turn, and {child} be alone: callctl gave it a")
        assert table.last.unchanged == {parent, child}
        assert table.sent == []
        assert table.setup.status(parent) == TALKS
