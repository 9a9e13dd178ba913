// A hotline: a caller presses 1 and is connected to the agent; whom nobody answers is called back.
// It knows nothing of the simulator: the environment leads Twilio's library to it.
const http = require("node:http");
const twilio = require("twilio");

const NUMBER = "+15005550006";
const AGENT = "+12025550100";

function makeHotline({ accountSid, authToken, publicUrl }) {
  const client = twilio(accountSid, authToken);
  const ended = []; // how calls back ended

  const answers = {
    "/voice": () => {
      const response = new twilio.twiml.VoiceResponse();
      response.gather({ numDigits: 1, action: "/choice", timeout: 5 }).say("Press 1 for an agent.");
      response.say("Goodbye.");
      return response;
    },
    "/choice": (form) => {
      const response = new twilio.twiml.VoiceResponse();
      if (form.Digits === "1") response.dial({ action: "/dialed", timeout: 20 }, AGENT);
      else response.redirect("/voice");
      return response;
    },
    "/dialed": async (form, url) => {
      const response = new twilio.twiml.VoiceResponse();
      if (form.DialCallStatus !== "completed") {
        response.say("We will call you back.");
        await client.calls.create({ to: form.From, from: NUMBER, url: `${url}/voice`, statusCallback: `${url}/status` });
      }
      return response;
    },
    "/status": (form) => {
      ended.push(form.CallStatus);
    },
  };

  const server = http.createServer(async (request, reply) => {
    try {
      let body = "";
      for await (const part of request) body += part;
      const form = Object.fromEntries(new URLSearchParams(body));
      const url = publicUrl ?? `http://${request.headers.host}`;
      const signature = request.headers["x-twilio-signature"] ?? "";
      if (!twilio.validateRequest(authToken, signature, url + request.url, form)) {
        reply.writeHead(403).end();
        return;
      }
      const document = await answers[request.url](form, url);
      reply.writeHead(document ? 200 : 204, { "Content-Type": "text/xml" }).end(document?.toString());
    } catch (error) {
      reply.writeHead(500, { "Content-Type": "text/plain" }).end(String(error));
    }
  });
  return { server, ended };
}

module.exports = { makeHotline, NUMBER, AGENT };

if (require.main === module) {
  const { TWILIO_ACCOUNT_SID: accountSid, TWILIO_AUTH_TOKEN: authToken, PUBLIC_URL: publicUrl } = process.env;
  makeHotline({ accountSid, authToken, publicUrl }).server.listen(5000, "127.0.0.1");
}
