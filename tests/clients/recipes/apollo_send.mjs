// Send an email, now or later, and watch it: node apollo_send.mjs ada@example.com [2030-01-01T09:00:00Z]
import { gql } from "@apollo/client";
import { apollo } from "./apollo.mjs";

const { HELIOGRAPH_URL = "http://localhost:8000", HELIOGRAPH_KEY } = process.env;
const client = apollo(HELIOGRAPH_URL, () => ({ Authorization: `Bearer ${HELIOGRAPH_KEY}` }));

const SEND = gql`
  mutation Send($input: SendNotificationInput!) {
    send_notification(input: $input) {
      success
      message
      error { code ... on ValidationError { fields { path message } } ... on ConflictError { request_id } }
      data { duplicate notifications { id status } }
    }
  }
`;
const WATCH = gql`
  subscription Watch($id: ID!, $after: String) {
    notification_status(id: $id, after: $after) { cursor sequence status notification { id status reason } }
  }
`;

const [email, send_at] = process.argv.slice(2);
const { success, error, data } = await send({
  request_id: crypto.randomUUID(), // yours: sending the same again is then safe
  recipient: { email },
  content: { subject: "Hi", text: "Hello" },
  send_at,
});
if (success) watch(data.notifications[0].id);
else explain(error);

async function send(input) {
  const result = await client.mutate({ mutation: SEND, variables: { input } });
  return result.data.send_notification;
}

function explain(error) {
  switch (error.__typename) {
    case "ValidationError":
      return error.fields.forEach(({ path, message }) => console.log(`${path.join(".")} ${message}`));
    case "ConflictError":
      return console.log(`${error.request_id} was used for something else`);
    default:
      return console.log(error.code);
  }
}

function watch(id) {
  client.subscribe({ query: WATCH, variables: { id } }).subscribe({
    next: ({ data, error }) => console.log(error ? error.message : data.notification_status.status),
    complete: () => console.log("complete"),
  });
}
