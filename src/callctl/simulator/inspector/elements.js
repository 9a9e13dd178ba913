// Elements made of text: whatever an application or a caller has sent becomes a text node, never markup.

/** Make an element; children are elements, texts, or null for nothing. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, String(value));
  }
  append(made, children);
  return made;
}

export function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== "") parent.append(child);
  }
}

/** Write a text where it differs: what is selected or read aloud is left alone. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Make the children of a node these, in this order; those that stay are not touched, and keep the focus. */
export function arrange(parent, wanted) {
  const focused = document.activeElement;
  const staying = new Set(wanted);
  for (const child of [...parent.children]) if (!staying.has(child)) child.remove();
  let place = parent.firstElementChild;
  for (const child of wanted) {
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

/**
 * Do what changes a pane, and keep what is read there where it is; at its very top new things come into sight.
 *
 * Most of what is seen decides: a row that moves elsewhere takes nobody along.
 */
export function keepingPlace(pane, rows, change) {
  if (pane.scrollTop === 0) return change();
  const { top, bottom } = pane.getBoundingClientRect();
  const seen = rows().map((row) => [row, row.getBoundingClientRect()]).filter(([, box]) => box.bottom > top && box.top < bottom);
  change();
  const moved = seen.filter(([row]) => row.isConnected).map(([row, box]) => row.getBoundingClientRect().top - box.top);
  if (moved.length) pane.scrollTop += moved.sort((one, other) => one - other)[moved.length >> 1];
}

/** Act when an element comes near what is seen of a pane, and again as long as it stays there. */
export function whenNear(node, pane, act) {
  const observer = new IntersectionObserver(
    (changes) => {
      if (!changes.some((change) => change.isIntersecting)) return;
      act();
      observer.unobserve(node);
      observer.observe(node);
    },
    { root: pane, rootMargin: "400px" },
  );
  observer.observe(node);
}

/** A button that copies a text. */
export function copier(text) {
  const button = element("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}

const GLYPHS = {
  queued: "◌", initiated: "◌", ringing: "◔", "in-progress": "●", completed: "✓",
  busy: "○", "no-answer": "○", canceled: "○", failed: "✗",
};

/** Show a status by glyph and word. */
export function statusMark(status) {
  const glyph = element("span", { class: "glyph", "aria-hidden": "true" }, GLYPHS[status] ?? "?");
  return element("span", { class: "mark", "data-status": status }, glyph, element("span", {}, status));
}

export function setStatus(mark, status) {
  if (mark.dataset.status === status) return;
  mark.dataset.status = status;
  write(mark.firstElementChild, GLYPHS[status] ?? "?");
  write(mark.lastElementChild, status);
}

/** The time of day of an ISO 8601 text, in UTC. */
export function clock(time, { milliseconds = false } = {}) {
  const moment = new Date(time ?? NaN);
  if (Number.isNaN(moment.getTime())) return "";
  return moment.toISOString().slice(11, milliseconds ? 23 : 19);
}

/** Seconds as m:ss, or h:mm:ss. */
export function length(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (value) => String(value).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
