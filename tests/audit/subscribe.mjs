// Prints what a graphql-sse client hears of one operation, a line of JSON each: subscribe.mjs <url> <api key> <request>
import { createClient } from "graphql-sse";

const [url, key, request] = process.argv.slice(2);
const client = createClient({ url, retryAttempts: 0, headers: { authorization: `Bearer ${key}` } });
const say = (heard) => process.stdout.write(`${JSON.stringify(heard)}\n`);

try {
  for await (const result of client.iterate(JSON.parse(request))) say(result);
  say("complete");
} catch (error) {
  say({ failed: String(error.message) });
}
