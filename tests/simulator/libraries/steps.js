// Calls Twilio's library for Node: one step a line on stdin, as JSON, and what came of it a line on stdout.
// Arguments: the simulator's address, the account and its token.
const readline = require("readline");
const twilio = require("twilio");

const [address, account, token] = process.argv.slice(2);
const TWILIO = "https://api.twilio.com";
let replies = [];

class ToSimulator extends twilio.RequestClient {
  async request(options) {
    if (!options.uri.startsWith(TWILIO)) throw new Error(`not to Twilio: ${options.uri}`);
    const response = await super.request({ ...options, uri: address + options.uri.slice(TWILIO.length) });
    const path = new URL(options.uri).pathname;
    replies.push({ method: options.method.toUpperCase(), path, status: response.statusCode, body: response.body });
    return response;
  }
}

const client = twilio(account, token, { httpClient: new ToSimulator() });
const camel = (name) => name.replace(/_+$/, "").replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

async function call({ path, params }) {
  let resource = client;
  for (const [name, sid] of path.slice(0, -1)) {
    resource = resource[camel(name)];
    if (sid !== null) resource = resource(sid);
  }
  const [[name]] = path.slice(-1);
  const options = Object.fromEntries(Object.entries(params).map(([key, value]) => [camel(key), value]));
  const parsed = await resource[name === "delete" ? "remove" : name](options);
  return parsed === true ? [] : [parsed].flat().map((each) => each.toJSON());
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    replies = [];
    const result = { things: [], error: null };
    try {
      result.things = await call(JSON.parse(line));
    } catch (error) {
      if (!(error instanceof twilio.RestException)) throw error;
      result.error = { code: error.code, status: error.status, message: error.message };
    }
    process.stdout.write(JSON.stringify({ ...result, replies }) + "\n");
  }
}

process.stdout.write(JSON.stringify({ ready: true }) + "\n");
main();
