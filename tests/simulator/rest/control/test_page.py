"""The inspector page, in a real browser: what it shows is what happened."""

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from browser import Page, new_page
from processes import environment
from simulator.setup import ANSWERS, BUSY, FROM, HANGS_UP, SimulatorSetup, simulator_setup

from callctl.simulator import Simulator
from callctl.simulator.rest.control.page import FOLDER, POLICY

MENU = (
    '<?xml version="1.0" encoding="UTF-8"?><Response><Gather numDigits="1" action="/menu?step=2"><Say voice="alice">'
    "One &amp; two</Say></Gather><Dial>+12025550105</Dial></Response>"
)
LAID_OUT = """\
<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <Gather numDigits="1" action="/menu?step=2">
    <Say voice="alice">One &amp; two</Say>
  </Gather>
  <Dial>+12025550105</Dial>
</Response>
"""
CALLS = "[...document.querySelectorAll('.family')].map(family => [...family.querySelectorAll('.row')].map(row =>"
SHOWN_CALLS = f"{CALLS} [row.querySelector('.mark span + span').textContent, row.querySelector('.ends').textContent]))"
SEQUENCE = (
    "[...document.querySelectorAll('.sequence > tbody > tr:not(.opened)')].map(row => [...row.cells].map(cell =>"
    " cell.textContent.trim()))"
)
OPENED = "document.querySelector('tr.opened')"
ROW = "[...document.querySelectorAll('.sequence > tbody > tr')].find(row => row.textContent.includes({!r}))"
FOCUSED = "document.activeElement.textContent"


@pytest.fixture
async def page(devtools: str, setup: SimulatorSetup) -> AsyncIterator[Page]:
    """A page of the simulator of `setup`; in the end nothing was wrong with it, and it asked for nothing elsewhere."""
    async with new_page(devtools) as page:
        await page.open(f"{setup.sim.url}/simulator/")
        yield page
        assert page.complaints == []
        assert {url for url in page.requested if not url.startswith(f"{setup.sim.url}/simulator/")} == set()


async def call_in(setup: SimulatorSetup, **given: str) -> str:
    """Let a call come in to the application that dials from its menu."""
    documents = setup.listener.documents
    documents |= {"/voice": MENU, "/menu": documents.get("/menu", f"<Response><Dial>{ANSWERS}</Dial></Response>")}
    return str((await setup.incoming(f"{setup.listener.url}/voice", caller="+12025550107", **given))["sid"])


async def select(page: Page, sid: str) -> None:
    await page.ask(f"location.hash = {sid!r}")
    await page.until("document.querySelector('#title')")


async def open_row(page: Page, text: str) -> None:
    """Click on the request that has a text in its row."""
    await page.until(f"({ROW.format(text)})?.querySelector('button.open')")
    await page.ask(f"{ROW.format(text)}.querySelector('button.open').click()")
    await page.until(OPENED)


# What is shown


async def test_a_call_with_all_that_happened(setup: SimulatorSetup, page: Page) -> None:
    setup.listener.documents["/menu"] = f"<Response><Dial><Number>{HANGS_UP}</Number></Dial></Response>"
    sid = await call_in(setup)
    await setup.advance(30)
    await setup.request("GET", f"{setup.account}/Calls/{sid}.json")
    await page.until(f"{SHOWN_CALLS}.flat().length === 2")
    assert await page.ask(SHOWN_CALLS) == [
        [["completed", f"+12025550107 → {FROM}"], ["completed", f"+12025550107 → {HANGS_UP}"]]
    ]
    await select(page, sid)
    here = setup.listener.url
    expected = [
        ["0.000", "A", "◔ringing", "", ""],
        ["0.000", "A", "→made: document ringing", f"POST {here}/voice", "200"],
        ["0.100", "A", "●in-progress", "", ""],
        ["0.100", "A", "→made: callback in-progress", f"POST {here}/status", "204"],
        ["1.100", "A", "→made: document in-progress", f"POST {here}/menu?step=2", "200"],
        ["1.200", "B", "◔ringing", "", ""],
        ["3.400", "B", "●in-progress", "", ""],
        ["8.400", "A", "✓completed", "", ""],
        ["8.400", "B", "✓completed", "", ""],
        ["8.400", "A", "→made: callback completed", f"POST {here}/status", "204"],
        ["30.000", "A", "←received: api", f"GET /Calls/{sid}.json", "200"],
    ]
    await page.until(f"{SEQUENCE}.at(-1)?.[4] === 'GET /Calls/{sid}.json'")
    rows = await page.ask(SEQUENCE)
    assert [[row[0], *row[2:]] for row in rows] == expected
    _, call = await setup.control("GET", f"/calls/{sid}")
    assert [row[1] for row in rows[:3]] == [call["timeline"][number]["time"][11:23] for number in (0, 0, 1)]


async def test_a_request_opens_to_its_form_and_its_document(setup: SimulatorSetup, page: Page) -> None:
    sid = await call_in(setup)
    await setup.advance(1)
    await select(page, sid)
    await open_row(page, "/voice")
    (arrived,) = setup.listener.at("/voice")
    pairs = await page.ask(
        f"[...{OPENED}.querySelectorAll('.form tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert dict(pairs) == {name: value for name, value in arrived.form.items() if value}
    empty = [name for name, value in arrived.form.items() if not value]
    assert f"Empty: {', '.join(empty)}" in await page.ask(f"{OPENED}.textContent")
    assert await page.ask(f"{OPENED}.querySelector('pre').textContent") == LAID_OUT
    assert "200 · text/xml" in await page.ask(f"{OPENED}.textContent")
    assert f"POST {setup.listener.url}/voice" in await page.ask(f"{OPENED}.textContent")


async def test_what_went_wrong_is_marked_by_more_than_colour(setup: SimulatorSetup, page: Page) -> None:
    broken = (await setup.place(ANSWERS, Url=f"{setup.listener.url}/missing"))["sid"]
    odd = (await setup.place(BUSY, Twiml="<Response><Pay/></Response>"))["sid"]
    passed = (await setup.place(ANSWERS, Twiml="<Response><Pay/><Pause length='5'/></Response>"))["sid"]
    await setup.request("POST", f"{setup.account}/Calls/{odd}.json", {"Status": "nonsense"})
    await setup.advance(60)
    await select(page, broken)
    await page.until(f"{ROW.format('11200')}")
    assert (await page.ask(f"{ROW.format('11200')}.textContent")).count("✗ error 11200") == 1
    # The request and the error may stand in either order, and the one may come with the page's next look.
    await page.until(f"{ROW.format('✗ 404')}")
    assert "/missing" in await page.ask(f"{ROW.format('✗ 404')}.textContent")
    await select(page, passed)
    await page.until(f"{ROW.format('12200')}")
    assert "! warning 12200" in await page.ask(f"{ROW.format('12200')}.textContent")
    assert "is not imitated" in await page.ask(f"{ROW.format('12200')}.textContent")
    await select(page, odd)
    await page.until(f"{ROW.format('20001')}")
    assert "✗ 400 20001" in await page.ask(f"{ROW.format('20001')}.textContent")
    await page.click("#call .check input")
    await page.until(f"{SEQUENCE}.length === 1")
    # Of the three, two had something fail; a busy line is no failure.
    await page.click("#failures")
    await page.until("document.getElementById('facts').textContent.startsWith('2 shown of 3 calls')")
    assert sorted(await page.ask("[...document.querySelectorAll('a.open')].map(link => link.hash)")) == sorted(
        [f"#{broken}", f"#{odd}"]
    )


async def test_nothing_that_others_write_becomes_markup(setup: SimulatorSetup, page: Page) -> None:
    hostile = "<script>window.broken=1</script><img src=x onerror=window.broken=1>\u202eabc" + "x" * 3000
    name = f"client:<img/src=x/onerror=window.broken=1>\u202e{'y' * 190}"
    room = hostile.replace("<", "&lt;")
    setup.listener.documents["/voice"] = f"<Response><Dial><Conference>{room[:120]}</Conference></Dial></Response>"
    setup.listener.documents["/odd"] = f"<Response><Say>{hostile}</Response>"
    (sid,) = [(await setup.incoming(f"{setup.listener.url}/voice?q={hostile[:60]}", caller=name))["sid"]]
    odd = (await setup.place(ANSWERS, Url=f"{setup.listener.url}/odd", StatusCallback=f"{setup.status}?a=%3Cb%3E"))[
        "sid"
    ]
    await setup.advance(10)
    for width in (1440, 360):
        await page.look(width=width)
        await select(page, sid)
        await page.until(f"document.querySelector('#title').textContent === {f'{name} → {FROM}'!r}")
        await open_row(page, "/voice")
        assert name in await page.ask(f"{OPENED}.querySelector('.form').textContent")
        assert "<img src=x" in await page.ask(f"{CALLS} row.querySelector('.room').textContent)).flat().join()")
        await no_sideways_scrolling(page)
        await select(page, odd)
        await open_row(page, "/odd")
        assert await page.ask(f"{OPENED}.querySelector('pre').textContent") == setup.listener.documents["/odd"]
        assert "shown as it came" in await page.ask(f"{OPENED}.textContent")
        await no_sideways_scrolling(page)
    assert await page.ask("window.broken === undefined && !document.querySelector('main img, main script')")


# As time goes on


async def test_it_goes_on_by_itself_and_leaves_what_one_reads_alone(setup: SimulatorSetup, page: Page) -> None:
    await page.until("!document.getElementById('empty').hidden")
    sid = await call_in(setup)
    await page.until("document.querySelector('.family .row .mark[data-status=ringing]')")
    await select(page, sid)
    await open_row(page, "/voice")
    kept = await page.ask(f"(window.kept = {OPENED}, window.row = document.querySelector('.family .row'), true)")
    assert kept
    await page.ask("document.querySelector('[data-open] button.open').focus()")
    for number in range(80):
        await setup.request("GET", f"{setup.account}/Calls/{sid}.json", {"PageSize": number + 1})
    await setup.advance(1)
    for _ in range(70):
        await setup.place(BUSY)
    await setup.advance(3)
    await page.until("facts.textContent.startsWith('71 calls, 1 live')")
    await page.until(f"{SEQUENCE}.length > 80")
    assert (
        await page.ask("kept.isConnected && row.isConnected && row.querySelector('[aria-current]').hash") == f"#{sid}"
    )
    assert "/voice" in await page.ask(FOCUSED)
    # What is being read stays where it is, in the list and in the sequence.
    await page.ask("(call.scrollTop = 700, calls.scrollTop = 900)")
    below = "[...document.querySelectorAll('.family')].find(family => family.getBoundingClientRect().top > 200)"
    before = await page.ask(f"(window.mark = {below}).getBoundingClientRect().top")
    scrolled = await page.ask("call.scrollTop")
    for _ in range(5):
        await setup.place(BUSY)
    await setup.request("GET", f"{setup.account}/Calls/{sid}.json")
    await page.until("document.querySelectorAll('.family').length === 76")
    assert await page.ask("mark.getBoundingClientRect().top") == pytest.approx(before, abs=1)
    assert await page.ask("call.scrollTop") == scrolled


async def test_after_a_reset_it_shows_the_new_run(setup: SimulatorSetup, page: Page) -> None:
    sid = await call_in(setup)
    await setup.advance(1)
    await select(page, sid)
    await page.until(f"{SEQUENCE}.length > 3")
    await setup.sim.reset_async()
    await page.until("document.querySelectorAll('.family').length === 0")
    assert "began anew" in await page.ask("notice.textContent")
    await page.until("call.textContent.includes('is not here')")
    other = (await setup.place(BUSY))["sid"]
    await page.until(f"{SHOWN_CALLS}.flat().length === 1")
    assert await page.ask("document.querySelector('a.open').hash") == f"#{other}"


async def test_it_says_when_the_simulator_is_gone_and_when_it_is_back(devtools: str) -> None:
    async with new_page(devtools) as page:
        async with simulator_setup() as setup:
            port = int(setup.sim.url.rpartition(":")[2])
            await setup.place(BUSY)
            await page.open(f"{setup.sim.url}/simulator/")
            await page.until(f"{SHOWN_CALLS}.flat().length === 1")
        await page.until("notice.textContent.includes('does not answer')")
        assert await page.ask(f"{SHOWN_CALLS}.flat().length") == 1
        async with Simulator(port=port, manual_clock=True):
            await page.until("notice.textContent.includes('began anew') || notice.textContent.includes('is back')")
            await page.until("document.querySelectorAll('.family').length === 0 && !empty.hidden")
            assert not await page.ask("document.body.hasAttribute('data-gone')")


async def test_it_asks_for_nothing_while_it_is_hidden(setup: SimulatorSetup, page: Page) -> None:
    await page.until("!document.getElementById('empty').hidden")
    await page.ask(
        "(Object.defineProperty(document, 'hidden', {value: true, writable: true, configurable: true}),"
        " document.dispatchEvent(new Event('visibilitychange')), new Promise(done => requestIdleCallback(done)))"
    )
    await page.skip(30)  # what was asked for before is answered
    asked = len(page.requested)
    await page.skip(30)
    assert len(page.requested) == asked
    await setup.place(BUSY)
    await page.ask("(document.hidden = false, document.dispatchEvent(new Event('visibilitychange')))")
    await page.until(f"{SHOWN_CALLS}.flat().length === 1")


async def test_of_very_many_calls_it_draws_what_is_seen(setup: SimulatorSetup, page: Page) -> None:
    dial = f"<Response><Dial>{ANSWERS}</Dial></Response>"
    for _ in range(60):
        await setup.place(ANSWERS, Twiml=dial)
    for _ in range(240):
        await setup.place(BUSY)
    await setup.advance(20)
    await page.until("facts.textContent === '300 calls, 60 live, at 20.0 s, manual clock'")
    assert await page.ask("document.querySelectorAll('.family').length") < 300
    assert await page.ask("document.querySelectorAll('.family .row').length") >= 120
    await page.until("(calls.scrollTop = calls.scrollHeight, document.querySelectorAll('.family').length === 300)")
    assert await page.ask("performance.getEntriesByName('drawn').length") > 0
    await page.ask("document.querySelector('a.open').click()")
    await page.until(f"{SEQUENCE}.length > 5")


async def test_a_call_that_is_deleted_goes(setup: SimulatorSetup, page: Page) -> None:
    first, second = [(await setup.place(BUSY))["sid"] for _ in range(2)]
    await setup.advance(10)
    await page.until(f"{SHOWN_CALLS}.length === 2")
    assert (await setup.request("DELETE", f"{setup.account}/Calls/{first}.json"))[0] == 204
    await page.until(f"{SHOWN_CALLS}.length === 1")
    assert await page.ask("document.querySelector('a.open').hash") == f"#{second}"


async def test_it_says_where_requests_are_no_longer_kept(devtools: str) -> None:
    async with simulator_setup(keep_records=4) as setup, new_page(devtools) as page:
        sids = []
        for _ in range(4):
            sids.append((await setup.place(BUSY))["sid"])
            await setup.advance(10)
        await page.open(f"{setup.sim.url}/simulator/#{sids[0]}")
        await page.until("call.textContent.includes('some earlier ones are no longer kept')")
        await page.ask(f"location.hash = '#{sids[-1]}'")
        await page.until(f"{SEQUENCE}.length > 6")
        assert await page.ask("document.querySelector('.summary').textContent") == "4 requests"


# To find and to choose


async def test_a_filter_by_number_sid_and_url(setup: SimulatorSetup, page: Page) -> None:
    first, second = (await setup.place(BUSY))["sid"], await call_in(setup)
    await setup.advance(2)
    await page.until(f"{SHOWN_CALLS}.length === 2")
    only = "[...document.querySelectorAll('.family:not([hidden]) .row:first-child a')].map(link => link.hash).join()"
    for text, found in ((BUSY[-4:], first), ("(202) 555-0102", first), (second, second), ("/VOICE", second)):
        await page.ask("(filter.focus(), filter.select())")
        await page.type(text)
        await page.until(f"{only} === '#{found}'")
    await page.type("-nowhere")
    await page.until("!empty.hidden && empty.textContent === 'No call matches.'")
    await page.press("Escape")
    await page.until(f"{SHOWN_CALLS}.length === 2")


async def test_an_address_names_a_call(setup: SimulatorSetup, devtools: str, page: Page) -> None:
    sid = await call_in(setup)
    await setup.advance(10)
    (child,) = await setup.children(sid)
    async with new_page(devtools) as other:
        await other.open(f"{setup.sim.url}/simulator/#{child['sid']}")
        await other.until("document.querySelector('.legs [data-chosen]')")
        assert await other.ask("document.querySelector('[aria-current]').hash") == f"#{child['sid']}"
        assert child["sid"] in await other.ask("document.querySelector('.legs [data-chosen]').textContent")
        await other.ask("location.hash = '#CA123'")
        await other.until("call.textContent.includes('CA123 is not here')")
    await page.ask(f"location.hash = '#{sid}'")
    await page.until("document.title.includes('→')")


async def test_keys(setup: SimulatorSetup, page: Page) -> None:
    sid = await call_in(setup)
    other = (await setup.place(BUSY))["sid"]
    await setup.advance(5)
    await page.until("facts.textContent.startsWith('2 calls, 1 live, at 5.0 s')")
    order = await page.ask("[...document.querySelectorAll('a.open')].map(link => link.hash.slice(1))")
    assert (order[0], order[-1]) == (sid, other)
    focused = "document.activeElement.hash"
    for key, place in (("ArrowDown", 0), ("ArrowDown", 1), ("ArrowUp", 0), ("End", -1), ("Home", 0)):
        await page.press(key)
        assert await page.ask(focused) == f"#{order[place]}"
    outline = "getComputedStyle(document.activeElement, '::after').outlineStyle"
    assert await page.ask(outline) == "solid"
    await page.press("Enter")
    await page.until("document.activeElement.matches('button.open')")
    assert await page.ask("location.hash") == f"#{sid}"
    assert await page.ask(outline) == "solid"
    await page.press("ArrowDown")
    here = await page.ask(FOCUSED)
    await page.press("Enter")
    await page.until(OPENED)
    assert await page.ask("document.activeElement.getAttribute('aria-expanded')") == "true"
    await page.press("ArrowLeft")
    assert not await page.ask(OPENED)
    await page.press("ArrowRight")
    await page.until(OPENED)
    assert await page.ask(FOCUSED) == here
    await page.press("Escape")  # back to the list, where the call stays selected
    assert await page.ask(focused) == f"#{sid}"
    await page.press("Escape")
    assert await page.ask("location.hash") == ""
    await page.press("/")
    assert await page.ask("document.activeElement.id") == "filter"
    await page.press("ArrowDown")
    assert await page.ask(focused) == f"#{sid}"


WITHHOLD_REQUESTS = """
window.given = window.fetch;
window.fetch = async (path, how) => {
  const reply = await given(path, how);
  if (!path.startsWith("requests")) return reply;
  const last = Number(new URLSearchParams(path.split("?")[1]).get("after"));
  return new Response(JSON.stringify({ ...(await reply.json()), requests: [], last }));
};
true
"""


async def test_a_call_whose_requests_come_after_it_was_entered_has_the_focus_go_to_them(
    setup: SimulatorSetup, page: Page
) -> None:
    await page.ask(WITHHOLD_REQUESTS)
    await call_in(setup)
    await setup.advance(5)
    await page.until("facts.textContent.startsWith('1 call, 1 live, at 5.0 s')")
    await page.press("ArrowDown")
    await page.press("Enter")
    await page.until("document.activeElement.id === 'call'")
    await page.ask("(window.fetch = given, true)")
    await page.until("document.activeElement.matches('button.open')")


async def test_the_first_call_is_let_in_by_the_command_that_the_page_shows(page: Page, tmp_path: Path) -> None:
    await page.until("!empty.hidden")
    program, *arguments = shlex.split((await page.ask("empty.querySelector('code').textContent")).replace("\\\n", ""))
    assert program == "callctl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "callctl", *arguments, cwd=tmp_path, env=environment(tmp_path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, out + err
    await page.until(f"{SHOWN_CALLS}.flat().length === 1")
    assert await page.ask("empty.hidden")


# How it looks, and how it is heard


CONTRASTS = """
(() => {
  const linear = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = ([red, green, blue]) =>
    0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
  const painted = (colour) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = painted(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
      if (colour[3] !== 0) throw new Error("half transparent");
    }
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walk.nextNode()); ) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility({ visibilityProperty: true })) continue;
    const [one, other] = [painted(getComputedStyle(node).color), ground(node)].map(light).sort((a, b) => b - a);
    found.push([Math.round(((one + 0.05) / (other + 0.05)) * 100) / 100, text.data.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_enough(setup: SimulatorSetup, page: Page, scheme: str) -> None:
    await page.look(width=1440, scheme=scheme)
    room = "<Response><Dial><Conference>standup</Conference></Dial></Response>"
    await setup.place(ANSWERS, Twiml=room)
    await setup.place(ANSWERS, Url=f"{setup.listener.url}/missing")
    sid = await call_in(setup)
    await setup.advance(5)
    await setup.place(BUSY, Twiml="<Response><Pay/></Response>")
    await select(page, sid)
    await page.until("document.querySelectorAll('.family').length === 4")
    await open_row(page, "/voice")
    await page.ask("document.getAnimations().forEach(one => one.finish())")
    contrasts = await page.ask(CONTRASTS)
    assert len(contrasts) > 100
    assert contrasts[0][0] >= 4.5, contrasts[:10]
    (dark,) = {await page.ask("matchMedia('(prefers-color-scheme: dark)').matches")}
    assert dark == (scheme == "dark")
    ground = await page.ask("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


async def no_sideways_scrolling(page: Page) -> None:
    for pane in ("document.documentElement", "calls", "call"):
        wide = (
            f"[...{pane}.querySelectorAll('*')].filter(node => {pane}.scrollWidth > {pane}.clientWidth &&"
            f" node.getBoundingClientRect().right > {pane}.clientWidth + {pane}.getBoundingClientRect().left)"
            ".map(node => `${node.tagName} ${node.className} ${node.textContent.slice(0, 40)}`)"
        )
        assert await page.ask(wide) == [], pane
        assert await page.ask(f"{pane}.scrollWidth <= {pane}.clientWidth"), pane


@pytest.mark.parametrize("width", [360, 820, 1440])
async def test_no_width_needs_scrolling_sideways(setup: SimulatorSetup, page: Page, width: int) -> None:
    await page.look(width=width)
    sid = await call_in(setup)
    await setup.advance(10)
    await page.until(f"{SHOWN_CALLS}.flat().length === 2")
    await no_sideways_scrolling(page)
    await page.click(f"a.open[href='#{sid}']")
    await page.until("document.querySelector('#title')")
    await open_row(page, "/voice")
    await no_sideways_scrolling(page)
    seen = "[calls, call].map(pane => getComputedStyle(pane).visibility === 'visible')"
    assert await page.ask(seen) == [width > 1000, True]
    if width < 1000:
        await page.click("#call .back")
        await page.until(f"{seen}.join() === 'true,false'")


async def test_what_a_screen_reader_comes_to(setup: SimulatorSetup, page: Page) -> None:
    sid = await call_in(setup)
    await setup.advance(5)
    await select(page, sid)
    await open_row(page, "/voice")
    found = await page.accessible()
    for landmark in (
        ("banner", ""),
        ("search", ""),
        ("main", ""),
        ("navigation", "Calls"),
        ("region", "The selected call"),
    ):
        assert landmark in found
    headers = [name for role, name in found if role == "columnheader"]
    assert headers == [
        "Status", "From To", "Length", "Requests", "Began",
        "Leg", "Status", "From", "To", "Direction", "Length", "SID",
        "At, s", "UTC", "Leg", "What", "Request", "Answer",
        "Name", "Value",
    ]  # fmt: skip
    assert ("link", f"in-progress, from +12025550107 to {FROM}") in found
    assert ("heading", f"+12025550107 → {FROM}") in found
    assert ("button", f"POST {setup.listener.url}/voice") in found
    assert ("status", "") in found  # says when the simulator is gone: the one thing that is read out unasked
    assert await page.ask("document.querySelectorAll('[aria-live], [role=status], [role=alert]').length") == 1
    assert not [name for role, name in found if role in ("button", "link", "checkbox", "searchbox") and not name]


# What is served


async def test_the_page_and_its_parts_are_the_simulators_own(setup: SimulatorSetup) -> None:
    base = f"{setup.sim.url}/simulator"
    for name in ("", *(f"inspector/{file.name}" for file in FOLDER.iterdir() if file.name != "index.html")):
        async with setup.session.get(f"{base}/{name}") as reply:
            assert reply.status == 200
            assert reply.headers["Content-Security-Policy"] == POLICY
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert "://" not in (await reply.text()).replace("http://www.w3.org/2000/svg", "").replace("https?://", "")
    async with setup.session.get(base, allow_redirects=False) as reply:
        assert (reply.status, reply.headers["Location"]) == (301, "/simulator/")
    for name in ("inspector/", "inspector/nothing.js", "inspector/..%2Fserver.py", "inspector/__init__.py"):
        async with setup.session.get(f"{base}/{name}") as reply:
            assert reply.status == 404
    assert (await setup.control("GET", "/requests"))[1]["requests"] == []


async def test_a_link_from_elsewhere_leads_to_the_page_and_no_other_page_reads(setup: SimulatorSetup) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Referer": "https://chat.example.com/"}
    async with setup.session.get(f"{setup.sim.url}/simulator/", headers=elsewhere) as reply:
        assert reply.status == 200
    assert (await setup.control("GET", "/calls", headers=elsewhere))[0] == 403


async def test_from_another_machine_one_signs_in(setup: SimulatorSetup) -> None:
    other = {"Host": "simulator.example.com"}
    for path in ("", "inspector/main.js"):
        async with setup.session.get(f"{setup.sim.url}/simulator/{path}", headers=other) as reply:
            assert reply.status == 401
            assert reply.headers["WWW-Authenticate"].startswith("Basic")
        async with setup.session.get(f"{setup.sim.url}/simulator/{path}", headers=other | setup.headers) as reply:
            assert reply.status == 200


async def test_below_a_base_path(devtools: str) -> None:
    async with simulator_setup(base_path="/api/laml") as setup, new_page(devtools) as page:
        await page.open(f"{setup.sim.url}/simulator")
        await page.until("!empty.hidden")
        assert f"--url {setup.sim.url} " in await page.ask("empty.textContent")
        assert page.complaints == []
