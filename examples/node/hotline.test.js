const { makeHotline, NUMBER, AGENT } = require("./hotline");
const simulator = require("./simulator");

const CALLER = "+12025550199";
let hotline, url;

beforeAll(async () => {
  const { TWILIO_ACCOUNT_SID: accountSid, TWILIO_AUTH_TOKEN: authToken } = process.env;
  hotline = makeHotline({ accountSid, authToken });
  await new Promise((ready) => hotline.server.listen(0, "127.0.0.1", ready));
  url = `http://127.0.0.1:${hotline.server.address().port}`;
});

afterAll(() => {
  hotline.server.close();
  hotline.server.closeAllConnections();
});

beforeEach(async () => {
  await simulator.reset();
  hotline.ended.length = 0;
});

test("a caller is connected", async () => {
  await simulator.setFarEnd(AGENT, { outcome: "answers", hang_up_after: 60 });
  const { sid } = await simulator.call({ from: CALLER, to: NUMBER, url: `${url}/voice` });
  await simulator.advanceUntil({ status: "in-progress", call: sid });
  await simulator.press(sid, "1");
  await simulator.advanceUntil({ idle: true });

  const [caller, agent] = await simulator.calls();
  expect(caller).toMatchObject({ status: "completed", notifications: [] });
  expect(agent).toMatchObject({ parent_sid: sid, to: AGENT, status: "completed", duration: 60 });
  const documents = await simulator.requests({ kind: "document" });
  expect(documents.map((each) => each.url)).toEqual([`${url}/voice`, `${url}/choice`, `${url}/dialed`]);
  expect(await simulator.requests({ direction: "received" })).toEqual([]); // nobody is called back
});

test("whom nobody answers is called back", async () => {
  await simulator.setFarEnd(AGENT, { outcome: "busy" });
  await simulator.setFarEnd(CALLER, { outcome: "never" });
  const { sid } = await simulator.call({ from: CALLER, to: NUMBER, url: `${url}/voice` });
  await simulator.answerGathers(sid, ["1"]);
  await simulator.advanceUntil({ idle: true });

  const [placed] = await simulator.requests({ direction: "received" });
  expect(placed).toMatchObject({ method: "POST", reply: { status: 201 }, parameters: { To: [CALLER] } });
  const callbacks = await simulator.requests({ kind: "callback" });
  expect(callbacks.map((each) => each.about)).toEqual(["no-answer"]);
  expect(hotline.ended).toEqual(["no-answer"]);
});

test("what the simulator does not know fails, with --strict", async () => {
  const twiml = "<Response><Pay/><Say>Thank you.</Say></Response>";
  const { sid } = await simulator.call({ from: CALLER, to: NUMBER, twiml });
  await simulator.advanceUntil({ idle: true });
  const failed = await simulator.find(sid);
  expect(failed.status).toBe("failed");
  expect(failed.notifications.map((note) => note.message).join()).toContain("<Pay> is not imitated");
});
