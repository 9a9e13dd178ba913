// The page as a whole: it requests what is new, shows it, and follows the address and the keys.

import { CallList } from "./calls.js";
import { CallPage } from "./call.js";
import { clock, plural, write } from "./elements.js";
import { Store } from "./store.js";

const EVERY = 1000; // milliseconds, real ones
const LONGEST_WAIT = 5000; // while the simulator does not answer
const PATIENCE = 10_000;
const AT_A_TIME = 500; // requests

const store = new Store();
const list = new CallList();
const page = new CallPage();
const field = document.getElementById("filter");
const failures = document.getElementById("failures");
const notice = document.getElementById("notice");

let run = null; // names a run of the simulator, from its start or a reset to the next
let after = 0; // the number of the last request that is known
let at = 0; // the present simulated second
let kind = ""; // what is unusual about the simulator
let gone = 0; // how often it has not answered, one time after the other
let isKnown = false; // whether the first answer is there
let timer = 0;
let isRequesting = false;

// What is new

async function get(path) {
  const reply = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!reply.ok) throw new Error(`it answers ${reply.status}`);
  return reply.json();
}

async function update() {
  let news = await get(`requests?after=${after}&limit=${AT_A_TIME}`);
  if (run !== null && news.run !== run) {
    restart();
    return update();
  }
  if (run === null) {
    const { clock: time, strict } = await get("health");
    kind = `${time === "manual" ? ", manual clock" : ""}${strict ? ", strict" : ""}`;
  }
  run = news.run;
  // Requested after them, the calls are all there that those requests are about.
  const calls = await get(isKnown ? `calls?since=${at}` : "calls");
  if (calls.run !== run) return update();
  store.takeCalls(calls.calls);
  at = calls.at;
  for (;;) {
    take(news.requests);
    after = news.last;
    if (news.requests.length < AT_A_TIME) break;
    news = await get(`requests?after=${after}&limit=${AT_A_TIME}`);
    if (news.run !== run) return update();
  }
  isKnown = true;
}

function take(records) {
  store.takeRecords(records);
  for (const { method, url, reply } of records) {
    const deleted = method === "DELETE" && reply?.status === 204 && /\/Calls\/([^/]+)\.json$/.exec(url);
    if (deleted) store.drop(deleted[1]);
  }
}

function restart() {
  store.clear();
  [run, after, at, isKnown] = [null, 0, 0, false];
  say(`The simulator began anew at ${clock(new Date())}Z`);
}

async function tick() {
  if (isRequesting) return;
  isRequesting = true;
  clearTimeout(timer);
  try {
    const isBack = gone > 0;
    await update();
    gone = 0;
    if (isBack) say(`The simulator is back since ${clock(new Date())}Z`);
    draw();
  } catch (error) {
    if (!gone) say(`The simulator does not answer since ${clock(new Date())}Z; this is what was known then. ${reason(error)}`, true);
    gone += 1;
    document.body.toggleAttribute("data-gone", true);
  } finally {
    isRequesting = false;
  }
  if (!gone) document.body.toggleAttribute("data-gone", false);
  if (!document.hidden) timer = setTimeout(tick, Math.min(EVERY * 2 ** Math.min(gone, 8), gone ? LONGEST_WAIT : EVERY));
}

function reason(error) {
  return error.message.startsWith("it answers") ? `${error.message}.` : "";
}

let fading = 0;
function say(text, stays = false) {
  write(notice, text);
  clearTimeout(fading);
  if (!stays) fading = setTimeout(() => write(notice, ""), 8000);
}

// What is shown

function draw() {
  performance.mark("draw");
  const filter = { text: field.value, failuresOnly: failures.checked };
  const families = list.draw(store, filter, at);
  const sid = selected();
  const family = sid ? store.familyOf(sid) ?? null : null;
  page.open(family, sid, family ? "" : absence(sid));
  page.draw(at, store.completeSince);
  if (document.activeElement !== page.pane) isEntering = false;
  if (isEntering) focusSequence();
  list.select(sid);
  const all = [...store.families.values()];
  const live = all.filter((family) => family.isLive).length;
  const shown = families.length < all.length ? `${families.length} shown of ${all.length} calls` : plural(all.length, "call");
  write(document.getElementById("facts"), isKnown ? `${shown}, ${live} live, at ${at.toFixed(1)} s${kind}` : "");
  document.title = `${page.family?.legs.length ? page.name : "Calls"} · callctl simulator`;
  performance.measure("drawn", "draw");
}

/** What is shown in place of a call. */
function absence(sid) {
  if (!isKnown) return "";
  if (sid) return `${sid} is not here: it was deleted, or belongs to another run of the simulator.`;
  return store.families.size ? "Choose a call to see its requests and answers." : "";
}

function selected() {
  return location.hash.slice(1);
}

function onAddress() {
  const sid = selected();
  document.body.toggleAttribute("data-selected", Boolean(sid));
  draw();
  list.reveal(sid);
}

// Keys

let isEntering = false; // a call was entered by the key, and none of its requests is there yet

function move(items, step) {
  const here = items.indexOf(document.activeElement);
  const next = here < 0 ? items.findIndex((item) => item.hasAttribute("aria-current")) : here + step;
  const item = items[Math.min(Math.max(next, 0), items.length - 1)];
  item?.focus({ preventScroll: true });
  (item?.closest("[role=row]") ?? item)?.scrollIntoView({ block: "nearest" });
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const isTyping = event.target === field;
  const items = () => (page.pane.contains(document.activeElement) ? page.buttons() : list.links());
  const act = {
    "/": () => !isTyping && (field.focus(), field.select(), true),
    Escape: () => escape(isTyping),
    ArrowDown: () => (move(isTyping ? list.links() : items(), 1), true),
    ArrowUp: () => !isTyping && (move(items(), -1), true),
    Home: () => !isTyping && (move(items(), -Infinity), true),
    End: () => !isTyping && (toEnd(items), true),
    ArrowRight: () => fold(event.target, "false"),
    ArrowLeft: () => fold(event.target, "true"),
    Enter: () => enter(event.target),
  }[event.key];
  if (act?.()) event.preventDefault();
}

function toEnd(items) {
  if (page.pane.contains(document.activeElement) && page.family) {
    page.drawAll();
    page.draw(at, store.completeSince);
  }
  move(items(), Infinity);
}

function fold(target, expanded) {
  if (target.getAttribute?.("aria-expanded") !== expanded) return false;
  target.click();
  return true;
}

/** A call that is entered by the key has the focus go to its sequence, which may come a moment later. */
function enter(target) {
  if (!target.matches?.("#calls a")) return false;
  location.hash = target.hash; // at once, as a click need not be
  onAddress();
  focusSequence();
  return true;
}

function focusSequence() {
  const [first] = page.buttons();
  (first ?? page.pane).focus({ preventScroll: true });
  isEntering = !first;
}

function escape(isTyping) {
  const sid = selected();
  if (isTyping && field.value) {
    field.value = "";
    draw();
  } else if (isTyping || !sid) {
    list.reveal(sid, { focus: true });
  } else if (page.pane.contains(document.activeElement) && getComputedStyle(list.pane).visibility === "visible") {
    list.reveal(sid, { focus: true });
  } else {
    location.hash = "";
    onAddress();
    list.reveal(sid, { focus: true });
  }
  return true;
}

document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : tick()));
window.addEventListener("online", tick);
window.addEventListener("hashchange", onAddress);
field.addEventListener("input", draw);
failures.addEventListener("change", draw);
document.body.toggleAttribute("data-selected", Boolean(selected()));
tick();
