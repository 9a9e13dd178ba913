// XML laid out for reading. Each token stays as it was sent; only white space between elements is set anew.

const TOKEN = /<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?\?>|<![^>]*>|<(?:"[^"]*"|'[^']*'|[^'">])*>|[^<]+|</g;
const PART = /([^\s=<>/"']+)(?=\s*=)|("[^"]*"|'[^']*')|(<\/?[^\s/>]*|\/?>)/g;
const INDENT = "  ";

/** Return the text laid out, as nodes to append; null where it is not well-formed enough to be laid out. */
export function layOut(text) {
  const root = parse(text);
  if (root === null) return null;
  const lines = [];
  for (const child of root.children) write(child, 0, lines);
  return lines.map(asLine);
}

/** A line whose further lines, where it is too long, stand below its own beginning. */
function asLine([lead, ...parts]) {
  const made = mark("", "line");
  made.append(mark(lead, "lead"), ...parts, "\n");
  made.style.setProperty("--indent", `${lead.length}ch`);
  return made;
}

function parse(text) {
  if (!text.startsWith("<")) return null;
  const root = { children: [] };
  const open = [root];
  for (const [token] of text.matchAll(TOKEN)) {
    const parent = open.at(-1);
    if (token === "<") return null;
    if (token.startsWith("</")) {
      const closed = open.pop();
      if (closed === root || `</${closed.name}>` !== token.replace(/\s+>$/, ">")) return null;
      closed.end = token;
    } else if (/^<[^!?]/.test(token)) {
      const made = { name: /^<([^\s/>]*)/.exec(token)[1], tag: token, children: [] };
      parent.children.push(made);
      if (!token.endsWith("/>")) open.push(made);
    } else {
      parent.children.push({ text: token });
    }
  }
  return open.length === 1 && root.children.some((child) => child.name) ? root : null;
}

function write(node, depth, lines) {
  const lead = INDENT.repeat(Math.min(depth, 40));
  if (node.text !== undefined) {
    if (node.text.trim()) lines.push([lead, ...words(node)]);
    return;
  }
  const isText = node.children.some((child) => child.text?.trim() && !child.text.startsWith("<!--"));
  if (isText || !node.children.some((child) => child.name || child.text.trim())) {
    lines.push([lead, ...inline(node)]); // white space counts in it
    return;
  }
  lines.push([lead, ...words(node)]);
  for (const child of node.children) write(child, depth + 1, lines);
  lines.push([lead, mark(node.end, "tag")]);
}

function inline(node) {
  if (node.text !== undefined) return words(node);
  return [...words(node), ...node.children.flatMap(inline), ...(node.end ? [mark(node.end, "tag")] : [])];
}

function words(node) {
  if (node.text !== undefined) return [/^<[!?]/.test(node.text) ? mark(node.text, "aside") : node.text];
  const parts = [];
  let done = 0;
  for (const match of node.tag.matchAll(PART)) {
    parts.push(node.tag.slice(done, match.index), mark(match[0], match[1] ? "name" : match[2] ? "value" : "tag"));
    done = match.index + match[0].length;
  }
  parts.push(node.tag.slice(done));
  return parts.filter(Boolean);
}

function mark(text, kind) {
  const made = document.createElement("span");
  made.className = kind;
  made.textContent = text;
  return made;
}
