// What a page does for the user who is signed in: their own events, with a token that expires and is fetched anew.
import { connect } from "./connect.mjs";

const { HELIOGRAPH_URL = "http://localhost:8000", TOKEN_URL } = process.env; // TOKEN_URL: your own server's

async function credentials() {
  const answer = await fetch(TOKEN_URL, { credentials: "include" });
  if (!answer.ok) throw new Error("signed out");
  return { Authorization: `Bearer ${await answer.text()}` };
}

const query = "subscription Mine($after: String) { status_feed(after: $after) { cursor notification_id status } }";

connect(HELIOGRAPH_URL, credentials).subscribe({ query }, {
  next: ({ data, errors }) => console.log(JSON.stringify(errors?.[0].extensions ?? data.status_feed)),
  error: (cause) => console.log(JSON.stringify({ code: cause.code ?? cause.message })),
  complete: () => console.log(JSON.stringify({ complete: true })),
});
