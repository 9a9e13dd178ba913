// One family: its legs, and the sequence of requests, answers, and what became of them.

import { append, arrange, clock, copier, element, keepingPlace, plural, setStatus, statusMark, whenNear, write } from "./elements.js";
import { lengthOf } from "./calls.js";
import { isFailure, isLive, OTHERS, sequenceOf } from "./store.js";
import { layOut } from "./twiml.js";

const AT_ONCE = 150; // rows of the sequence; more are drawn as one scrolls to them

export class CallPage {
  constructor() {
    this.pane = document.getElementById("call");
    this.family = null;
  }

  /** Show a family, in which one leg was chosen; or say what there is to choose. */
  open(family, sid, absent) {
    if (family === this.family && this.sid === sid && this.absent === absent) return;
    const isSame = family && family === this.family;
    this.family = family;
    this.sid = sid;
    this.absent = absent;
    if (isSame) {
      this.version = -1;
      return;
    }
    this.#begin();
  }

  /** Show what is new of the family at the present simulated second; requests before `completeSince` may be missing. */
  draw(at, completeSince) {
    if (!this.family) return;
    this.completeSince = completeSince;
    for (const leg of this.family.legs) {
      if (isLive(leg) && this.legs.has(leg.sid)) write(this.legs.get(leg.sid).length, lengthOf(leg, at));
    }
    if (this.version === this.family.version) return;
    this.version = this.family.version;
    keepingPlace(this.pane, () => [...this.body.children], () => {
      this.#drawLegs(at);
      this.#drawSequence();
    });
  }

  get name() {
    const [first] = this.family.legs;
    return first ? `${first.from} → ${first.to}` : "Requests about no call";
  }

  buttons() {
    return [...this.pane.querySelectorAll("button.open")];
  }

  /** Draw what is left, so that the last row can be gone to. */
  drawAll() {
    this.limit = Infinity;
    this.version = -1;
  }

  #begin() {
    this.version = -1;
    this.limit = AT_ONCE;
    this.rows = new Map();
    this.legs = new Map();
    this.pane.scrollTop = 0;
    const back = element("a", { class: "back", href: "#" }, "← Calls");
    if (!this.family) {
      this.pane.replaceChildren(back, element("p", { class: "absent" }, this.absent));
      return;
    }
    this.title = element("h2", { id: "title" });
    this.legBody = element("tbody");
    this.summary = element("p", { class: "summary" });
    this.failures = element("input", { type: "checkbox" });
    this.failuresOnly = element("label", { class: "check", hidden: true }, this.failures, " Failures only");
    this.failures.addEventListener("change", () => this.#drawSequence());
    this.body = element("tbody", { role: "rowgroup" });
    this.more = element("p", { class: "more", hidden: true });
    const legs = element(
      "table", { class: "legs", "aria-label": "Legs" },
      element("thead", {}, element("tr", {}, ["Leg", "Status", "From", "To", "Direction", "Length", "SID"].map(heading))),
      this.legBody,
    );
    const head = ["At, s", "UTC", "Leg", "What", "Request", "Answer"];
    const names = ["at number", "time", "leg", "what", "request", "answer"];
    const sequence = element(
      "table", { class: "sequence", role: "table", "aria-label": "Requests and callbacks, in order" },
      element("thead", { role: "rowgroup" }, element(
        "tr", { role: "row" },
        head.map((text, number) => element("th", { role: "columnheader", scope: "col", class: names[number] }, text)),
      )),
      this.body,
    );
    this.pane.replaceChildren(
      element("header", {}, back, this.title, this.family.root === OTHERS ? null : legs,
        element("div", { class: "bar" }, this.summary, this.failuresOnly)),
      sequence,
      this.more,
    );
    whenNear(this.more, this.pane, () => this.#drawMore());
  }

  #drawMore() {
    this.limit += AT_ONCE;
    this.#drawSequence();
  }

  #drawLegs(at) {
    const { family } = this;
    write(this.title, this.name);
    this.names = new Map(family.legs.map((leg, number) => [leg.sid, letter(number)]));
    arrange(this.legBody, family.legs.map((leg) => this.#leg(leg, at)));
  }

  #leg(leg, at) {
    let row = this.legs.get(leg.sid);
    if (!row) {
      row = { mark: statusMark(leg.status), name: element("th", { scope: "row" }), length: element("td", { class: "number" }) };
      row.facts = element("span", { class: "aside" });
      row.node = element(
        "tr", {}, row.name, element("td", {}, row.mark, row.facts), end("from", leg.from), end("to", leg.to),
        element("td", {}, leg.direction), row.length, element("td", { class: "sid" }, element("code", {}, leg.sid), copier(leg.sid)),
      );
      this.legs.set(leg.sid, row);
    }
    row.node.toggleAttribute("data-chosen", this.#isChosen(leg.sid));
    setStatus(row.mark, leg.status);
    write(row.name, this.names.get(leg.sid));
    write(row.facts, [leg.answered_by, leg.room && `in ${leg.room}`].filter(Boolean).join(", "));
    write(row.length, lengthOf(leg, at));
    return row.node;
  }

  #drawSequence() {
    const all = sequenceOf(this.family);
    const failed = all.filter(isProblem);
    const requests = this.family.records.length;
    const { legs } = this.family;
    const lost = (legs[0]?.timeline[0]?.at ?? 0) < this.completeSince;
    const problems = legs.length ? legs.reduce((sum, leg) => sum + this.family.problemsOf(leg), 0) : failed.length;
    const parts = [plural(requests, "request"), problems && `✗ ${plural(problems, "failure")}`, lost && "some earlier ones are no longer kept"];
    write(this.summary, parts.filter(Boolean).join(", "));
    this.failuresOnly.hidden = !failed.length;
    const wanted = this.failures.checked && failed.length ? failed : all;
    const shown = wanted.slice(0, this.limit);
    arrange(this.body, shown.flatMap((moment) => this.#row(moment)));
    this.more.hidden = shown.length === wanted.length;
    write(this.more, `${plural(wanted.length - shown.length, "more row")} below`);
  }

  #row(moment) {
    let row = this.rows.get(moment.key);
    if (!row) {
      row = { node: this.#make(moment), opened: null };
      this.rows.set(moment.key, row);
      row.leg = row.node.querySelector(".leg");
      row.button = row.node.querySelector("button.open");
      row.button?.addEventListener("click", () => this.#toggle(row, moment));
    }
    write(row.leg, this.names.get(moment.call) ?? "");
    row.leg.toggleAttribute("data-chosen", this.#isChosen(moment.call));
    return row.opened ? [row.node, row.opened] : [row.node];
  }

  /** A child is chosen within its family; its parent stands for all of it. */
  #isChosen(sid) {
    return sid === this.sid && sid !== this.family.root;
  }

  #toggle(row, moment) {
    const isOpen = row.opened === null;
    row.button.setAttribute("aria-expanded", String(isOpen));
    row.node.toggleAttribute("data-open", isOpen);
    if (isOpen) {
      const id = `opened-${moment.key}`;
      const cell = element("td", { role: "cell", colspan: "6", id }, particulars(moment.record, this.names.get(moment.call)));
      row.opened = element("tr", { role: "row", class: "opened" }, cell);
      row.button.setAttribute("aria-controls", id);
      row.node.after(row.opened);
    } else {
      row.opened.remove();
      row.opened = null;
      row.button.removeAttribute("aria-controls");
    }
  }

  #make(moment) {
    const cell = (name, ...children) => element("td", { role: "cell", class: name }, ...children);
    const lead = [
      cell("at number", moment.at.toFixed(3)),
      cell("time", clock(moment.time, { milliseconds: true })),
      cell("leg"),
    ];
    if (moment.kind === "status") {
      return element("tr", { role: "row", class: "step" }, lead, cell("what", statusMark(moment.step.status)), cell("request"), cell("answer"));
    }
    if (moment.kind === "note") {
      const { note } = moment;
      const isError = note.level === "error";
      const level = element("span", { class: isError ? "problem" : "warning" }, `${isError ? "✗" : "!"} ${note.level} ${note.code}`);
      const text = [note.message, note.url && element("span", { class: "aside" }, ` ${note.url}`)];
      return element("tr", { role: "row", class: "note" }, lead, cell("what", level), cell("request message", ...text), cell("answer"));
    }
    const { record } = moment;
    const isSent = record.direction === "sent";
    const arrow = element("span", { class: "arrow", "aria-hidden": "true" }, isSent ? "→" : "←");
    const word = element("span", { class: "visually-hidden" }, isSent ? "made: " : "received: ");
    const about = record.about ? element("span", { class: "about" }, ` ${record.about}`) : null;
    const button = element(
      "button", { type: "button", class: "open", "aria-expanded": "false", title: record.url },
      element("span", { class: "method" }, record.method), " ", shortUrl(record),
    );
    return element(
      "tr", { role: "row", class: isFailure(record) ? "failed" : "" }, lead,
      cell("what", arrow, word, record.kind, about), cell("request", button), cell("answer", outcome(record)),
    );
  }
}

function end(name, address) {
  return element("td", { class: `end ${name}` }, element("span", {}, address));
}

function heading(text) {
  return element("th", { scope: "col", class: text === "Length" ? "number" : null }, text);
}

function letter(number) {
  const rest = Math.floor(number / 26);
  return (rest ? letter(rest - 1) : "") + String.fromCharCode(65 + (number % 26));
}

function isProblem(moment) {
  if (moment.kind === "request") return isFailure(moment.record);
  return moment.kind === "note" ? moment.note.level === "error" : moment.step.status === "failed";
}

/** The address as a row has room for: what varies stands out, the rest is in the title and in what opens. */
function shortUrl(record) {
  const [, lead, rest] = /^(https?:\/\/[^/?#]*)(.*)$/s.exec(record.url) ?? [null, "", record.url];
  if (lead) return [element("span", { class: "origin" }, lead), rest];
  const below = /^.*\/Accounts\/[^/]+(\/.*)$/s.exec(record.url);
  return [below ? below[1] : record.url];
}

function outcome(record) {
  const { reply } = record;
  if (record.dropped) return element("span", { class: "problem" }, "✗ dropped");
  if (!reply?.status) return element("span", { class: "problem" }, "✗ no answer");
  const text = [reply.status, reply.code].filter(Boolean).join(" ");
  return isFailure(record) ? element("span", { class: "problem" }, `✗ ${text}`) : text;
}

/** All of a request and its answer. */
function particulars(record, leg) {
  const { reply } = record;
  const isSent = record.direction === "sent";
  const facts = [
    `Request ${record.number}`,
    `${isSent ? "made" : "received"}${leg ? ` about leg ${leg}` : ""}`,
    reply?.attempts > 1 && `tried ${reply.attempts} times`,
  ].filter(Boolean).join(", ");
  return [
    element("p", { class: "aside" }, facts),
    element("p", { class: "address" }, element("code", {}, `${record.method} ${record.url}`), copier(record.url)),
    form(record.method === "POST" ? "Form" : "Query", record.parameters),
    answer(record),
  ];
}

/** What was sent along: a row for each value of each name. */
function form(title, parameters) {
  const pairs = Object.entries(parameters).flatMap(([name, values]) => values.map((value) => [name, value]));
  if (!pairs.length) return null;
  const value = (text) => (isXml(text) ? code(text) : text);
  const empty = pairs.filter(([, text]) => text === "");
  const rows = empty.length > 2 ? pairs.filter(([, text]) => text !== "") : pairs;
  return [
    element("h3", {}, title),
    element(
      "table", { class: "form", "aria-label": title },
      element("thead", {}, element("tr", {}, heading("Name"), heading("Value"))),
      element("tbody", {}, rows.map(([name, text]) =>
        element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value(text))))),
    ),
    rows === pairs ? null : element("p", { class: "empties" }, `Empty: ${empty.map(([name]) => name).join(", ")}`),
  ];
}

function answer(record) {
  const { reply } = record;
  const title = element("h3", {}, "Answer");
  if (record.dropped) return [title, element("p", { class: "problem" }, "✗ It was dropped on purpose, and never sent.")];
  const line = [reply?.status, reply?.code && `error ${reply.code}`, reply?.content_type].filter(Boolean).join(" · ");
  const body = reply?.body ?? "";
  return [
    title,
    reply?.error ? element("p", { class: "problem" }, `✗ ${reply.error}`) : null,
    line ? element("p", { class: isFailure(record) ? "problem" : "" }, line) : null,
    body ? code(body, reply.content_type) : element("p", { class: "aside" }, "No body"),
  ];
}

function isXml(text) {
  return /^\s*<(\?xml|[A-Za-z])/.test(text);
}

/** A document laid out for reading; as it came where that can't be done. */
function code(text, kind = "") {
  const shown = element("code");
  const laidOut = isXml(text) ? layOut(text) : null;
  if (laidOut) append(shown, laidOut);
  else shown.textContent = /json/.test(kind) ? indented(text) : text;
  const note = isXml(text) && !laidOut ? element("p", { class: "aside" }, "Not well-formed: shown as it came.") : null;
  return element("div", { class: "code" }, note, element("pre", { tabindex: "0" }, shown), copier(text));
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // cut short, or no JSON
  }
}
