// The list of calls: a family is a group of rows, one for each leg.

import { arrange, clock, copier, element, keepingPlace, length, plural, setStatus, statusMark, whenNear, write } from "./elements.js";
import { isLive, OTHERS } from "./store.js";

const AT_ONCE = 100; // families; more are drawn as one scrolls to them

export class CallList {
  constructor() {
    this.pane = document.getElementById("calls");
    this.list = document.getElementById("list");
    this.head = this.list.firstElementChild;
    this.more = document.getElementById("more-calls");
    this.others = document.getElementById("others");
    this.empty = document.getElementById("empty");
    this.groups = new Map();
    this.limit = AT_ONCE;
    this.selected = "";
    whenNear(this.more, this.pane, () => this.#drawMore());
  }

  /** Show what a filter lets through of the calls; `at` is the present simulated second. */
  draw(store, filter, at) {
    const families = store.list(filter);
    const shown = families.slice(0, this.limit);
    this.again = () => this.draw(store, filter, at);
    this.#forget(store);
    keepingPlace(this.pane, () => [...this.list.children].slice(1), () => {
      arrange(this.list, [this.head, ...shown.map((family) => this.#group(family, at))]);
    });
    this.list.hidden = !shown.length;
    this.more.hidden = shown.length === families.length;
    write(this.more, `${plural(families.length - shown.length, "more call")} below`);
    this.others.hidden = !store.others.records.length;
    write(this.others, `Requests about no call: ${store.others.records.length.toLocaleString("en")}`);
    this.#explain(store, filter, families.length);
    return families;
  }

  /** Mark what is selected. */
  select(sid) {
    if (sid === this.selected) return;
    for (const old of this.pane.querySelectorAll("[aria-current]")) old.removeAttribute("aria-current");
    this.selected = sid;
    this.#link(sid)?.setAttribute("aria-current", "true");
  }

  /** Bring what is selected into sight, and give it the focus if that is wanted. */
  reveal(sid, { focus = false } = {}) {
    const link = this.#link(sid);
    link?.closest(".row, .others").scrollIntoView({ block: "nearest" });
    if (focus) (link ?? this.links()[0])?.focus({ preventScroll: Boolean(link) });
  }

  links() {
    return [...this.pane.querySelectorAll("a.open, #others:not([hidden])")];
  }

  #link(sid) {
    if (!sid) return null;
    return sid === OTHERS ? this.others : this.list.querySelector(`a.open[href="#${CSS.escape(sid)}"]`);
  }

  #drawMore() {
    this.limit += AT_ONCE;
    this.again?.();
  }

  #forget(store) {
    for (const root of this.groups.keys()) if (!store.families.has(root)) this.groups.delete(root);
  }

  #group(family, at) {
    let group = this.groups.get(family.root);
    if (!group || group.family !== family) {
      group = { family, node: element("div", { role: "rowgroup", class: "family" }), rows: new Map(), version: -1 };
      this.groups.set(family.root, group);
    }
    if (group.version !== family.version) {
      group.version = family.version;
      arrange(group.node, family.legs.map((leg) => this.#row(group, leg)));
    }
    for (const leg of family.legs) if (isLive(leg)) write(group.rows.get(leg.sid).length, lengthOf(leg, at));
    return group.node;
  }

  #row(group, leg) {
    let row = group.rows.get(leg.sid);
    if (!row) {
      row = makeRow(leg, leg.sid !== group.family.root);
      if (leg.sid === this.selected) row.link.setAttribute("aria-current", "true");
      group.rows.set(leg.sid, row);
    }
    setStatus(row.mark, leg.status);
    row.link.setAttribute("aria-label", `${leg.status}, from ${leg.from} to ${leg.to}`);
    write(row.from, leg.from);
    write(row.to, leg.to);
    write(row.room, leg.room ? `in ${leg.room}` : "");
    write(row.length, isLive(leg) ? row.length.textContent : length(leg.duration));
    const records = group.family.countOf(leg.sid);
    const problems = group.family.problemsOf(leg);
    write(row.problems, problems ? `✗ ${problems}` : "");
    row.problems.title = problems ? plural(problems, "failure") : "";
    write(row.count, String(records.all || ""));
    write(row.unit, records.all ? (records.all === 1 ? " request" : " requests") : "");
    write(row.begun, clock(leg.created));
    return row.node;
  }

  #explain(store, filter, found) {
    const isFiltered = Boolean(filter.text.trim() || filter.failuresOnly);
    this.empty.hidden = found > 0;
    const kind = store.families.size ? (isFiltered ? "nothing" : "") : "none";
    if (this.empty.hidden || this.empty.dataset.kind === kind) return;
    this.empty.dataset.kind = kind;
    this.empty.replaceChildren(...(kind === "none" ? firstCall() : [element("p", {}, "No call matches.")]));
  }
}

/** How long a call has been connected. */
export function lengthOf(leg, at) {
  if (!isLive(leg)) return length(leg.duration);
  const since = leg.timeline.find((step) => step.status === "in-progress");
  return since ? length(at - since.at) : "";
}

function makeRow(leg, isChild) {
  const cell = (name, ...children) => element("span", { role: "cell", class: name }, ...children);
  const row = { mark: statusMark(leg.status), from: element("span"), to: element("span") };
  row.link = element("a", { class: "open", href: `#${leg.sid}` }, row.mark);
  row.room = element("span", { class: "room" });
  row.problems = element("span", { class: "problem" });
  row.count = element("span");
  row.unit = element("span", { class: "unit" });
  row.length = cell("number length");
  row.begun = cell("number begun");
  row.node = element(
    "div", { role: "row", class: isChild ? "row child" : "row" },
    cell("status", row.link),
    cell("ends", row.from, element("span", { class: "arrow", "aria-label": "to" }, " → "), row.to, row.room),
    row.length,
    cell("number count", row.problems, " ", row.count, row.unit),
    row.begun,
  );
  return row;
}

function firstCall() {
  const base = location.href.replace(/\/simulator\/.*$/, "");
  const command = [
    "callctl simulator call", `--url ${base}`, "--from +12025550107 --to +15005550006", `--voice-url ${base}/simulator/survey`,
  ].join(" \\\n  ");
  return [
    element("h2", {}, "No call yet"),
    element("p", {}, "Let the first one come in, from a terminal:"),
    element("div", { class: "code" }, element("pre", { tabindex: "0" }, element("code", {}, command)), copier(command)),
    element("p", {}, "It requests a small document of the simulator's own. Give your application's address instead, or place a call by the API."),
  ];
}
