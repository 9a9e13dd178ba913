// What the page knows: calls as families, and the requests that each has sent and received.

const FINAL = new Set(["completed", "busy", "no-answer", "failed", "canceled"]);
const MOST_RECORDS = 50_000; // of a page that is open for days; the simulator itself keeps fewer

export const OTHERS = "others"; // the family of the requests that are about no call

export function isLive(call) {
  return !FINAL.has(call.status);
}

/** Whether a request was refused, failed, or lost. */
export function isFailure(record) {
  const status = record.reply?.status;
  return Boolean(record.dropped || record.reply?.error || !status || status >= 400);
}

class Family {
  constructor(root) {
    this.root = root;
    this.legs = []; // calls, the parent first, then as they were made
    this.records = [];
    this.failed = new Set(); // the URLs of requests that failed
    this.version = 0; // grows with whatever is shown of it
    this.urls = new Set();
    this.counts = new Map(); // of requests and failures, by the leg's SID
  }

  get isLive() {
    return this.legs.some(isLive);
  }

  get begun() {
    return this.legs[0]?.created ?? "";
  }

  get hasFailure() {
    return this.failed.size > 0 || this.legs.some((leg) => leg.status === "failed" || this.problemsOf(leg) > 0);
  }

  /** What went wrong in a leg: requests that failed, and errors that are not of such a request. */
  problemsOf(leg) {
    const others = leg.notifications.filter((note) => note.level === "error" && !this.failed.has(note.url));
    return this.countOf(leg.sid).failures + others.length;
  }

  add(record) {
    let place = this.records.length; // they are numbered as they were answered, and stand as they were made
    while (place > 0 && this.records[place - 1].at > record.at) place -= 1;
    this.records.splice(place, 0, record);
    this.urls.add(record.url.toLowerCase());
    const failed = isFailure(record) ? 1 : 0;
    const count = this.countOf(record.call);
    this.counts.set(record.call, { all: count.all + 1, failures: count.failures + failed });
    if (failed) this.failed.add(record.url);
    this.version += 1;
  }

  countOf(sid) {
    return this.counts.get(sid) ?? { all: 0, failures: 0 };
  }

  put(call) {
    const place = this.legs.findIndex((leg) => leg.sid === call.sid);
    if (place >= 0) this.legs[place] = call;
    else this.legs.push(call);
    this.legs.sort((one, other) => (one.sid === this.root ? -1 : other.sid === this.root ? 1 : 0));
    this.version += 1;
  }

  has(text) {
    const digits = text.replace(/[\s().-]/g, "");
    const isIn = (value) => value.toLowerCase().includes(text) || (digits && value.toLowerCase().includes(digits));
    for (const leg of this.legs) if (isIn(leg.from) || isIn(leg.to) || isIn(leg.sid) || isIn(leg.room ?? "")) return true;
    for (const url of this.urls) if (url.includes(text)) return true;
    return false;
  }
}

export class Store {
  constructor() {
    this.clear();
  }

  clear() {
    this.calls = new Map();
    this.families = new Map();
    this.others = new Family(OTHERS);
    this.rooms = new Map(); // a conference's SID, to the families that have been in it
    this.count = 0;
    this.last = 0; // the number of the newest
    this.completeSince = 0; // simulated seconds; the simulator has kept no more before
  }

  /** Take calls as they are now. */
  takeCalls(calls) {
    let changed = false;
    for (const call of calls) {
      const text = JSON.stringify(call);
      if (this.calls.get(call.sid)?.text === text) continue;
      this.calls.set(call.sid, { call, text });
      changed = true;
    }
    if (!changed) return;
    for (const call of calls) {
      const family = this.familyOf(call.sid) ?? this.#begin(this.#rootOf(call.sid));
      if (family.legs.find((leg) => leg.sid === call.sid) !== this.calls.get(call.sid).call) {
        family.put(this.calls.get(call.sid).call);
      }
    }
  }

  /** Take further requests, in the order of their numbers. */
  takeRecords(records) {
    for (const record of records) {
      if (record.number !== this.last + 1) this.completeSince = record.at;
      this.last = record.number;
      for (const family of this.#concerned(record)) family.add(record);
      this.count += 1;
    }
    if (this.count > MOST_RECORDS) this.#forget();
  }

  /** Forget a call that was deleted. */
  drop(sid) {
    const family = this.familyOf(sid);
    this.calls.delete(sid);
    if (!family) return;
    family.legs = family.legs.filter((leg) => leg.sid !== sid);
    family.version += 1;
    if (!family.legs.length) this.families.delete(family.root);
  }

  /** The family of a call, or of the requests about none. */
  familyOf(sid) {
    return sid === OTHERS ? this.others : this.families.get(this.#rootOf(sid));
  }

  /** The families that a filter lets through: the live ones first, then the newest. */
  list({ text, failuresOnly }) {
    const sought = text.trim().toLowerCase();
    return [...this.families.values()]
      .filter((family) => (!failuresOnly || family.hasFailure) && (!sought || family.has(sought)))
      .sort((one, other) => other.isLive - one.isLive || (one.begun < other.begun ? 1 : one.begun > other.begun ? -1 : 0));
  }

  #rootOf(sid) {
    let root = sid;
    for (const seen = new Set(); !seen.has(root); ) {
      seen.add(root);
      root = this.calls.get(root)?.call.parent_sid ?? root;
    }
    return root;
  }

  #begin(root) {
    const family = new Family(root);
    this.families.set(root, family);
    return family;
  }

  #concerned(record) {
    const family = record.call ? this.familyOf(record.call) : undefined;
    const [room] = record.parameters.ConferenceSid ?? (record.call.startsWith("CF") ? [record.call] : []);
    if (family) {
      if (room) this.rooms.set(room, (this.rooms.get(room) ?? new Set()).add(family));
      return [family];
    }
    return [...(this.rooms.get(room) ?? []), this.others];
  }

  #forget() {
    const ended = [...this.families.values()].filter((family) => !family.isLive);
    ended.sort((one, other) => (one.begun < other.begun ? -1 : 1));
    for (const family of [this.others, ...ended]) {
      if (this.count <= MOST_RECORDS / 2) return;
      this.count -= family.records.length;
      if (family === this.others) this.others = new Family(OTHERS);
      else this.families.delete(family.root);
      for (const leg of family.legs) this.calls.delete(leg.sid);
    }
  }
}

/**
 * Everything that happened in a family, in order: requests, changes of status, notifications.
 *
 * A change that has the same moment as a request stands before one that the simulator made because of it, and behind
 * one that it received.
 */
export function sequenceOf(family) {
  const moments = [];
  for (const leg of family.legs) {
    leg.timeline.forEach((step, number) => {
      moments.push({ kind: "status", key: `s${number}${leg.sid}`, at: step.at, time: step.time, call: leg.sid, step });
    });
    leg.notifications.forEach((note, number) => {
      moments.push({ kind: "note", key: `n${number}${leg.sid}`, at: note.at, time: note.time, call: leg.sid, note });
    });
  }
  moments.sort((one, other) => one.at - other.at); // stable: a leg's own stay in order
  const merged = [];
  let next = 0;
  for (const record of family.records) {
    while (next < moments.length && isBefore(moments[next], record)) merged.push(moments[next++]);
    merged.push({ kind: "request", key: `r${record.number}`, at: record.at, time: record.time, call: record.call, record });
  }
  return [...merged, ...moments.slice(next)];
}

function isBefore(moment, record) {
  if (moment.at !== record.at) return moment.at < record.at;
  return moment.kind === "status" && record.direction === "sent";
}
