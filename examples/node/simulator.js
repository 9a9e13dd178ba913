// What a test does with callctl's simulator, over HTTP. Copy it: it needs Node 18 and nothing else.
const ADDRESS = process.env.CALLCTL_API_URL ?? "http://127.0.0.1:8766";

async function send(method, path, body) {
  const reply = await fetch(`${ADDRESS}/simulator${path}`, { method, body: body && JSON.stringify(body) }).catch(() => {
    throw new Error(`no simulator answers at ${ADDRESS}: is \`callctl simulator\` running?`);
  });
  const answer = await reply.json();
  if (!reply.ok) throw new Error(`${method} /simulator${path}: ${answer.message}`);
  return answer;
}

const post = (path, body = {}) => send("POST", path, body);

module.exports = {
  /** Begin again as at the start. */
  reset: () => post("/reset"),
  /** Let a call come in: { from, to, url }. Resolves to the call. */
  call: (call) => post("/calls", call),
  /** The far end of a call answers, hangs up, presses keys, or says something. */
  answer: (sid) => post(`/calls/${sid}/answer`),
  hangUp: (sid) => post(`/calls/${sid}/hangup`),
  press: (sid, digits) => post(`/calls/${sid}/press`, { digits }),
  say: (sid, words) => post(`/calls/${sid}/say`, { words }),
  /** How the far end answers one <Gather> after the other, from now on. */
  answerGathers: (sid, answers) => post(`/calls/${sid}/answers`, { answers }),
  /** What an address does from now on: setFarEnd("+12025550150", { outcome: "busy" }). */
  setFarEnd: (address, farEnd) => post("/far-ends", { address, ...farEnd }),
  /** Let simulated seconds pass. */
  advance: (seconds) => post("/advance", { seconds }),
  /** Let time pass until { status, call }, { request: "/voice" } or { idle: true }. */
  advanceUntil: (until, limit = 3600) => post("/advance", { until, limit }),
  /** All calls, the oldest first, or the one with this SID. */
  calls: async () => (await send("GET", "/calls")).calls,
  find: (sid) => send("GET", `/calls/${sid}`),
  /** Requests received and made: requests({ kind: "callback", call: sid }). */
  requests: async (filter = {}) => (await send("GET", `/requests?${new URLSearchParams(filter)}`)).requests,
};
