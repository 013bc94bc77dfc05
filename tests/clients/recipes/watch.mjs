// Watch a notification until its final status: node watch.mjs ntf_…
import { connect } from "./connect.mjs";

const { HELIOGRAPH_URL = "http://localhost:8000", HELIOGRAPH_KEY } = process.env;
const client = connect(HELIOGRAPH_URL, () => ({ Authorization: `Bearer ${HELIOGRAPH_KEY}` }));

const query = `subscription Watch($id: ID!, $after: String) {
  notification_status(id: $id, after: $after) { cursor sequence status reason }
}`;

client.subscribe({ query, variables: { id: process.argv[2] } }, {
  next: ({ data, errors }) => console.log(JSON.stringify(errors?.[0].extensions ?? data.notification_status)),
  error: (cause) => console.log(JSON.stringify({ code: cause.code ?? cause.message })),
  complete: () => console.log(JSON.stringify({ complete: true })),
});
