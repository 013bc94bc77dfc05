// Deal with every status change, whatever is restarted meanwhile, this program included: node follow.mjs last.json
import { existsSync } from "node:fs";
import { readFile, rename, writeFile } from "node:fs/promises";
import { connect } from "./connect.mjs";

const { HELIOGRAPH_URL = "http://localhost:8000", HELIOGRAPH_KEY } = process.env;
const client = connect(HELIOGRAPH_URL, () => ({ Authorization: `Bearer ${HELIOGRAPH_KEY}` }));
const file = process.argv[2];

const query = `subscription Follow($after: String) {
  status_feed(after: $after) { cursor position notification_id sequence status }
}`;

let last = existsSync(file) ? JSON.parse(await readFile(file, "utf8")) : { position: 0 };
const variables = { get after() { return last.cursor; } }; // looked up each time that graphql-ws subscribes

for await (const { data, errors } of client.iterate({ query, variables })) {
  if (errors) throw new Error(JSON.stringify(errors));
  const event = data.status_feed;
  if (event.position <= last.position) continue; // it waited here when the connection was lost, and came again
  await handle(event);
  await remember(event);
}

async function handle(event) {
  console.log(JSON.stringify(event));
}

async function remember({ cursor, position }) {
  last = { cursor, position };
  await writeFile(`${file}.new`, JSON.stringify(last));
  await rename(`${file}.new`, file); // a crash leaves the old file or the new one
}
