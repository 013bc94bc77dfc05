import { cacheExchange, Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { connect } from "./connect.mjs";

/** An urql client: subscriptions over one WebSocket, the rest over HTTP. */
export function urql(url, credentials) {
  const socket = connect(url, credentials);
  const forwardSubscription = ({ query, variables }) => ({
    subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
  });
  return new Client({
    url: `${url}/graphql`,
    exchanges: [cacheExchange, fetchExchange, subscriptionExchange({ forwardSubscription })],
    fetch: async (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...(await credentials()) } }),
  });
}
