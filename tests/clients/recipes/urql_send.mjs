// Send an email, now or later, watch it, read it: node urql_send.mjs ada@example.com [2030-01-01T09:00:00Z]
import { urql } from "./urql.mjs";

const { HELIOGRAPH_URL = "http://localhost:8000", HELIOGRAPH_KEY } = process.env;
const client = urql(HELIOGRAPH_URL, () => ({ Authorization: `Bearer ${HELIOGRAPH_KEY}` }));

const SEND = `mutation Send($input: SendNotificationInput!) {
  send_notification(input: $input) {
    success
    error { __typename code ... on ValidationError { fields { path message } } }
    data { notifications { id } }
  }
}`;
const WATCH = `subscription Watch($id: ID!, $after: String) {
  notification_status(id: $id, after: $after) { cursor sequence status }
}`;
const READ = "query Read($id: ID!) { notification(id: $id) { success data { id status provider } } }";

const [email, send_at] = process.argv.slice(2);
const input = { recipient: { email }, content: { subject: "Hi", text: "Hello" }, send_at };
const sent = await client.mutation(SEND, { input });
if (sent.error) throw sent.error;
const { success, error, data } = sent.data.send_notification;
if (success) watch(data.notifications[0].id);
else console.log(error.__typename, error.code);

function watch(id) {
  client.subscription(WATCH, { id }).subscribe(({ data, error, hasNext }) => {
    if (error) console.log(error.message);
    else if (hasNext) console.log(data.notification_status.status);
    else read(id); // the end comes with the last event once more
  });
}

async function read(id) {
  const { data, error } = await client.query(READ, { id });
  console.log(error ? error.message : JSON.stringify(data.notification.data));
}
