import { createClient } from "graphql-ws";
import WebSocket from "ws"; // for Node before 22; without this line in a browser, which has its own

/**
 * A graphql-ws client that connects again while that can help, and whose subscriptions then go on where they were.
 *
 * `credentials()` answers `{ Authorization: "Bearer …" }`. It is asked before each connection, so that an expired token
 * is replaced; what it throws ends the subscriptions.
 */
export function connect(url, credentials) {
  let acknowledged = false;
  let silence;
  const client = createClient({
    url: `${url.replace(/^http/, "ws")}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: credentials,
    retryAttempts: Infinity,
    retryWait: (retries) => wait(Math.random() * Math.min(30_000, 500 * 2 ** retries)),
    // By default a refused connection would be the end. 4403 comes for a token that expired, or at once for a bad one.
    shouldRetry: (cause) => isLoss(cause) && (cause.code !== 4403 || acknowledged),
    // A connection that died without a word is noticed by the pong that does not come.
    keepAlive: 10_000,
    on: {
      connecting: () => { acknowledged = false; },
      connected: () => { acknowledged = true; },
      ping: (received) => { if (!received) silence = setTimeout(client.terminate, 5_000); },
      pong: (received) => { if (received) clearTimeout(silence); },
      closed: () => clearTimeout(silence),
    },
  });
  return { ...client, subscribe: resuming(client.subscribe) };
}

/** `subscribe`, with the last `cursor` as the variable `after` when graphql-ws subscribes again. */
function resuming(subscribe) {
  return (payload, sink) => {
    const variables = { ...payload.variables }; // sent anew with each connection, as it is then
    const next = (result) => {
      sink.next(result);
      for (const event of Object.values(result.data ?? {})) {
        if (event?.cursor) variables.after = event.cursor;
      }
    };
    return subscribe({ ...payload, variables }, { next, error: sink.error, complete: sink.complete });
  };
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Whether the connection was lost or never made. Any other `Error` was thrown by the code around it. */
const isLoss = (cause) => !(cause instanceof Error) || cause.code === 4499;
