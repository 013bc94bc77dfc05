// A list that is live, and grows by a page with each line that you enter: node apollo_list.mjs
import { createInterface } from "node:readline";
import { gql, NetworkStatus } from "@apollo/client";
import { apollo } from "./apollo.mjs";

const { HELIOGRAPH_URL = "http://localhost:8000", HELIOGRAPH_KEY } = process.env;
const client = apollo(HELIOGRAPH_URL, () => ({ Authorization: `Bearer ${HELIOGRAPH_KEY}` }));

const LIST = gql`
  query List($filter: NotificationFilter, $after: String) {
    notifications_connection(filter: $filter, first: 2, after: $after) {
      edges { cursor node { id status } }
      pageInfo { endCursor hasNextPage }
    }
  }
`;
// The cache knows a notification by its `id`: what an event brings shows in the list, without another line of code.
const LIVE = gql`
  subscription Live($after: String) {
    status_feed(after: $after) { cursor notification { id status } }
  }
`;

const list = client.watchQuery({ query: LIST, variables: { filter: { channel: "EMAIL" } } });

list.subscribe(({ data, networkStatus }) => {
  if (networkStatus !== NetworkStatus.ready) return; // a page is on its way
  console.log(JSON.stringify(data.notifications_connection.edges.map(({ node }) => node)));
});

client.subscribe({ query: LIVE }).subscribe(({ error }) => {
  if (error) console.log(error.message);
});

createInterface({ input: process.stdin }).on("line", () => {
  const { endCursor, hasNextPage } = list.getCurrentResult().data.notifications_connection.pageInfo;
  if (hasNextPage) list.fetchMore({ variables: { after: endCursor } });
});
