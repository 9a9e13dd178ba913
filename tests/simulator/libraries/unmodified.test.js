// An application's own test, by jest: what it is told of Twilio, and where that is, comes from the environment alone.
const twilio = require(process.env.TWILIO_PACKAGE);

const client = twilio(process.env.TWILIO_ACCOUNT_SID, process.env.TWILIO_AUTH_TOKEN);

test("a call is placed, found, and ended", async () => {
  const placed = await client.calls.create({ to: "+12025550100", from: "+15005550006", twiml: "<Response/>" });
  expect(placed.status).toBe("queued");
  expect((await client.calls.list()).map((call) => call.sid)).toEqual([placed.sid]);
  const ended = await client.calls(placed.sid).update({ status: "canceled" });
  expect(ended.status).toBe("canceled");
});

test("a refusal has Twilio's code", async () => {
  const refused = client.calls.create({ to: "nobody", from: "+15005550006", twiml: "<Response/>" });
  await expect(refused).rejects.toMatchObject({ code: 21211, status: 400 });
});

test("another of Twilio's services is refused, and not reached", async () => {
  const sent = client.messages.create({ to: "+12025550100", from: "+15005550006", body: "Hello" });
  await expect(sent).rejects.toMatchObject({ status: 404 });
  const other = client.verify.v2.services.list();
  await expect(other).rejects.toThrow("lets nothing through to verify.twilio.com without --allow-host verify.twilio.com");
});
