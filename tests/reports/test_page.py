"""The page of a report in a real browser: what it shows, on both grounds, on a phone, and whatever callers send."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import Page as Tab
from browser import new_page
from events import event, event_of, form, moment, sid
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import local_time_is_utc

from callctl.api.resources import Notification
from callctl.reports.mermaid import markdown
from callctl.reports.overview import Overview
from callctl.reports.page import Page, error_link, html
from callctl.reports.stories.rest_facts import RestFacts
from callctl.reports.stories.story import Story, story_of
from callctl.views.terminal_safe import printable
from reports.evening import HOSTILE, StoredCalls, dials, evening, storm, talk

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
GROUND = "getComputedStyle(document.body).backgroundColor"
WIDER = "document.documentElement.scrollWidth > innerWidth"
EACH_LINK_LEADS = (
    "[...document.querySelectorAll('.index a')].every(link => document.getElementById(link.hash.slice(1)))"
)
MARKUP = "script, img, [onload], [onerror], article b, iframe"
HIDDEN = "[...document.querySelectorAll('.scroll')].map(box => box.scrollWidth > box.clientWidth)"
TEXTS = "[...document.querySelectorAll('svg.diagram text')].map(text => text.textContent)"


def page_of(stories: Sequence[Story], *, left_out: int = 0, chosen: str = "", api_url: str | None = None) -> str:
    overview = Overview()
    for story in stories:
        overview.add(story)
    with local_time_is_utc():
        page = Page(stories, overview, chosen, NOW, "0.2.0", api_url=api_url, left_out=left_out, notes=["A note."])
        return "".join(html(page))


def test_no_status_makes_up_a_class() -> None:
    stored = StoredCalls()
    stored.leg(("lane step bad", 0), ("completed", 9), to="+12025550100")
    text = page_of([stored.story(1)])
    assert "lane step bad" in text
    assert not re.findall('class="[^"]*lane step bad', text)
    assert 'class="bar fill-plain"' in text


async def shown(tab: Tab, text: str, folder: Path) -> str:
    """Open a page from a file and return the text that it shows."""
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    await tab.open(file.as_uri())
    return str(await tab.ask("document.body.innerText"))


async def screenshot(tab: Tab) -> bytes:
    taken = await tab.send("Page.captureScreenshot", format="png")
    return base64.b64decode(taken["data"])


async def test_sixty_calls_are_explained_on_both_grounds_and_on_a_phone(devtools: str, tmp_path: Path) -> None:
    text = page_of(evening().stories(), chosen="to +12025550100")
    async with new_page(devtools) as tab:
        read = await shown(tab, text, tmp_path)
        assert "60 calls with 84 legs: 36 completed, 12 not answered, 12 failed." in read
        assert "Monday 23 November 2026, 10:00:00 to 10:" in read
        assert "+12025550100 was redirected 9 times within 00:16, by ann@ops" in read
        assert "12 more calls are marked ✗ below." in read
        assert await tab.ask("document.querySelectorAll('article').length") == 60
        assert await tab.ask("document.querySelectorAll('figure.chart svg rect').length") > 20
        assert await tab.ask(EACH_LINK_LEADS)
        grounds, pictures = [], []
        for width in (1440, 360):
            for scheme in ("light", "dark"):
                await tab.look(width=width, scheme=scheme)
                grounds.append(await tab.ask(GROUND))
                pictures.append(await screenshot(tab))
                assert not await tab.ask(WIDER), width  # the diagrams scroll in boxes of their own
        assert grounds[0] == grounds[2] == "rgb(255, 255, 255)"
        assert grounds[1] == grounds[3] != grounds[0]
        assert len(set(pictures)) == 4
        assert await tab.ask("[...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth)")
        assert (tab.complaints, {url.partition(":")[0] for url in tab.requested}) == ([], {"file"})
        assert len(tab.requested) == 1


async def test_a_diagram_a_little_wider_than_the_page_fits_and_a_wide_one_scrolls(
    devtools: str, tmp_path: Path
) -> None:
    stored = StoredCalls()
    parents = [dials(stored, 0), dials(stored, 600)]
    for number, parent in enumerate([parents[0], *[parents[1]] * 7]):
        stored.leg(("ringing", 3), ("canceled", 5), to=f"client:phone-{number}", parent=parent)
    text = page_of([stored.story(parent) for parent in parents])
    async with new_page(devtools) as tab:
        await tab.look(width=1280, scheme="light")
        await shown(tab, text, tmp_path)
        assert await tab.ask(HIDDEN) == [False, True]
        assert await tab.ask("document.querySelector('svg.diagram').clientWidth < 1150")


async def test_one_call_is_told_without_an_overview(devtools: str, tmp_path: Path) -> None:
    stored = StoredCalls()
    text = page_of([stored.story(dials(stored, 0))], api_url="http://127.0.0.1:8766")
    async with new_page(devtools) as tab:
        read = await shown(tab, text, tmp_path)
        assert "Not Twilio: the API was http://127.0.0.1:8766" in read
        assert "hung up with the call that dialled it, by ann@ops" in read
        assert "+00:40" in read  # the timeline is open
        assert await tab.ask("document.title") == "+15005550006 to +12025550100, Monday 23 November 2026"
        labels = await tab.ask(TEXTS)
        assert {"callctl", "Twilio", "sip:agent@example.com", "⋮ 00:34 later"} <= set(labels)
        assert {"hangup: completed", "by ann@ops"} <= set(labels)
        roles = [name for role, name in await tab.accessible() if role == "heading"]
        assert roles == ["+15005550006 → +12025550100"]


@pytest.mark.parametrize(
    "before", ["", "+12025550100 ", "x" * 11 + " ", "x" * 19 + " ", "x" * 60 + " ", "x" * 100 + " "]
)
def test_no_part_of_a_password_is_left_where_a_text_is_cut(before: str) -> None:
    stored = StoredCalls()
    address = f"{before} sip:ann:QQQQQQQQQQQQQQQQQQQQQQQQ@pbx.example.com"
    for number in range(2):
        stored.leg(("ringing", number), ("failed", number + 3), to=address, ErrorMessage=f"no route to {address}")
        stored.act(number + 1, "redirect", 2, f"to {address}", result="refused")
    stories = stored.stories()
    text = "".join((page_of(stories), *markdown(stories, title=address, notes=[address])))
    assert "sip:ann:***" in text
    assert "QQ" not in text


async def test_what_callers_and_applications_send_stays_text(devtools: str, tmp_path: Path) -> None:
    stored = StoredCalls()
    odd = {"To": HOSTILE, "CallerName": HOSTILE, "ErrorMessage": f"{HOSTILE}</svg></title>", "CallStatus": "failed"}
    stored.events.append(event_of(form(1, "failed", number=0, at=0) | odd))
    stored.events.append(event(2, 'x" onload="alert(1)', number=0, at=0, To="javascript:alert(1)"))
    stored.act(1, "redirect", 3, f"to <Response><Say>{HOSTILE}</Say></Response>", rule=HOSTILE, by=HOSTILE)
    link = "javascript:alert(1)"
    notes = [Notification("NO1", code, "error", HOSTILE, link, link, moment(1)) for code in ("11200", '"><b>', "1" * 5)]
    stories = [stored.story(1, facts=RestFacts({}, {sid(1): notes})), stored.story(2)]
    async with new_page(devtools) as tab:
        read = await shown(tab, page_of(stories, chosen=HOSTILE), tmp_path)
        assert "<script>document.title='painted'</script>" in read
        assert not re.search("[\u202e\x1b\x00]", read)
        assert await tab.ask("document.title") != "painted"
        assert (
            await tab.ask("document.querySelectorAll('script, img, [onload], [onerror], article b, iframe').length")
            == 0
        )
        links = set(await tab.ask("[...document.links].map(link => link.getAttribute('href'))"))
        assert links == {
            f"#{sid(1)}",
            f"#{sid(2)}",
            "https://www.twilio.com/docs/api/errors/11200",
            "https://www.twilio.com/docs/api/errors/11111",
        }
        assert (tab.complaints, len(tab.requested)) == ([], 1)


async def test_no_text_is_so_long_that_the_page_scrolls_sideways(devtools: str, tmp_path: Path) -> None:
    stored = StoredCalls()
    long = "x" * 3000
    fields = form(f"CA{'9' * 300}", f"odd-{long}", number=0, at=0) | {"To": long, "From": long, "CallerName": long}
    stored.events.append(event_of(fields, verified=False))
    stored.act(1, "redirect", 3, long, rule=long)
    story = story_of(stored.events, [replace(stored.actions[0], call_sid=fields["CallSid"])], sid=fields["CallSid"])
    assert story is not None
    for stories in ([story], [story, *evening().stories()[:2]]):
        async with new_page(devtools) as tab:
            await shown(tab, page_of(stories, chosen=long), tmp_path)
            for width in (1440, 820, 360):
                await tab.look(width=width)
                assert not await tab.ask(WIDER), width


async def test_on_paper_it_is_dark_on_light_with_the_timelines(devtools: str, tmp_path: Path) -> None:
    stored = StoredCalls()
    storm(stored, 0)
    talk(stored, 100, 20)
    stories = stored.stories()
    async with new_page(devtools) as tab:
        await shown(tab, page_of(stories), tmp_path)
        await tab.look(width=1440, scheme="dark")
        dark = await tab.ask(GROUND)
        await tab.send("Emulation.setEmulatedMedia", media="print")
        assert (await tab.ask(GROUND), dark == "rgb(255, 255, 255)") == ("rgb(255, 255, 255)", False)
        printed = await tab.send("Page.printToPDF", printBackground=True)
        assert base64.b64decode(printed["data"]).startswith(b"%PDF")


def test_what_was_left_out_is_said() -> None:
    stored = StoredCalls()
    talk(stored, 0, 20)
    talk(stored, 9, 20)
    text = page_of(stored.stories(), left_out=1800)
    assert "Left out: 1,800 stories." in text
    assert "A note." in text


def test_a_timeline_without_end_is_cut() -> None:
    stored = StoredCalls()
    call = talk(stored, 0, 3000)
    for number in range(1500):
        stored.act(call, "redirect", 10 + number, "again")
    text = page_of([stored.story(call)])
    assert "504 more are left out" in text
    assert len(text) < 1_000_000


def test_only_twilios_codes_have_links() -> None:
    assert error_link("13224") == "https://www.twilio.com/docs/api/errors/13224"
    assert [error_link(code) for code in (None, "", "1322", "132240", "١٣٢٢٤", "a3224")] == [None] * 6


def test_nothing_but_the_page_itself_is_named_in_it() -> None:
    text = page_of(evening().stories())
    assert set(re.findall(r'(?:src|href)="([^#"][^"]*)"', text)) <= {"https://www.twilio.com/docs/api/errors/21220"}
    assert not re.search(r"<script|<link|<iframe|@import|url\(", text)


@pytest.mark.parametrize("count", [1, 3])
async def test_each_story_has_its_diagram_and_its_table(devtools: str, tmp_path: Path, count: int) -> None:
    stored = StoredCalls()
    for number in range(count):
        dials(stored, number * 100.0)
    stories = stored.stories()
    async with new_page(devtools) as tab:
        await shown(tab, page_of(stories), tmp_path)
        assert await tab.ask("document.querySelectorAll('svg.diagram').length") == count
        assert await tab.ask("document.querySelectorAll('table.timeline tbody tr').length") == count * 12


class Seen(HTMLParser):
    """The tags of a page, the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def one_story(text: str, *, rule: str) -> list[Story]:
    stored = StoredCalls()
    fields = {"To": text, "From": text, "CallerName": text, "ErrorMessage": text, "CallStatus": "failed"}
    stored.events.append(event_of(form(1, "failed", number=0, at=0) | fields, verified=False))
    stored.act(1, "redirect", 3, text, rule=rule)
    return [stored.story(1)]


@settings(max_examples=60)
@given(st.text() | st.text(alphabet="<>&\"'=/ abscript:;-!]{}%"), st.text())
def test_no_text_becomes_a_tag_or_an_attribute(text: str, rule: str) -> None:
    plain, odd = Seen(page_of(one_story("a", rule="b"))), Seen(page_of(one_story(text, rule=rule), chosen=text))
    assert odd.tags == plain.tags
    assert odd.attributes == plain.attributes
    assert printable(text) in "".join(odd.text) or not text.strip()
