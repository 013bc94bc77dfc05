"use strict";

// What the server gave the page: the example tabs, and the headers that stand there until a key is typed.
const { tabs, hint } = JSON.parse(document.getElementById("setup").textContent);
const url = location.origin + location.pathname;
const EVENTS_SHOWN = 50;
const KEY_PAUSE_MS = 1000;

// ------------------------------------------------------------------------------------------------------- credentials

const credentials = (headers) => Object.fromEntries(
  Object.entries(headers || {}).filter(([name]) => /^(authorization|x-api-key)$/i.test(name)));
const hasKey = (headers) => Object.values(credentials(headers)).some((value) => value !== hint.Authorization);
const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

// Whoever waits for headers with a key is told of the next ones.
let keyIsThere = () => {};
const nextKey = () => new Promise((resolve) => {
  keyIsThere = resolve;
});

// GraphiQL itself keeps no headers in its tabs, but does in its history: they are taken out of all that it stores.
const isOurs = (name) => name.startsWith("graphiql:");
const withoutHeaders = (text) => {
  const stored = parsed(text);
  const isList = stored && (stored.tabs || stored.queries || stored.favorites);
  return isList ? JSON.stringify(stored, (name, value) => (name === "headers" ? null : value)) : text;
};
const storage = {
  get length() {
    return Object.keys(localStorage).filter(isOurs).length;
  },
  getItem: (name) => localStorage.getItem(name),
  removeItem: (name) => localStorage.removeItem(name),
  setItem: (name, value) => {
    if (name !== "graphiql:headers") {
      localStorage.setItem(name, withoutHeaders(value));
    }
  },
  clear: () => Object.keys(localStorage).filter(isOurs).forEach((name) => localStorage.removeItem(name)),
};

// -------------------------------------------------------------------------------------------------------- operations

const overHttp = async (params, headers) => {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/graphql-response+json", ...headers },
    body: JSON.stringify(params),
  });
  return response.json();
};

// The schema, once there is a key that may ask for it. GraphiQL would show a refusal in place of an operation's result.
const schemaWithNextKey = async (params) => {
  let answer;
  do {
    answer = await overHttp(params, await nextKey());
  } while (!answer.data);
  return answer;
};

const explained = (reason) => {
  if (Array.isArray(reason)) {
    return reason;
  }
  return reason.code ? `The connection was closed: ${reason.code} ${reason.reason}` : "The connection failed.";
};

// GraphiQL shows one result at a time, and events come faster than one can read: show the last ones together.
// Nothing is tried again: a subscription that began anew by itself would show a hole, or events twice.
const overSocket = (params, headers) => ({
  subscribe(observer) {
    const client = graphqlWs.createClient({
      url: url.replace(/^http/, "ws"),
      connectionParams: credentials(headers),
      retryAttempts: 0,
    });
    const newest = [];
    let [events, frame] = [0, 0];
    const show = (ending) => {
      cancelAnimationFrame(frame);
      frame = 0;
      observer.next({ ...ending, events, newest_first: newest });
    };
    const end = (ending) => {
      show(ending);
      observer.complete();
      client.dispose();
    };
    let stopped = false;
    const stop = client.subscribe(params, {
      next(result) {
        events += 1;
        newest.unshift(result);
        newest.length = Math.min(events, EVENTS_SHOWN);
        frame = frame || requestAnimationFrame(() => show());
      },
      error: (reason) => stopped || end({ error: explained(reason) }),
      complete: () => stopped || end(),
    });
    return {
      // The result pane may be another tab's by now: show nothing more.
      unsubscribe() {
        stopped = true;
        cancelAnimationFrame(frame);
        stop();
        client.dispose();
      },
    };
  },
});

// What is about to be run. GraphiQL tells that too, but for a moment after a change of tabs tells it of the other tab.
const chosen = ({ query, operationName }) => {
  const found = [...query.matchAll(/^\s*(query|mutation|subscription)\b\s*(\w*)/gm)];
  const operations = found.map(([, kind, name]) => ({ kind, name }));
  return operations.find(({ name }) => name === operationName) || operations[0] || { kind: "query", name: "" };
};

const fetcher = async (params, { headers } = {}) => {
  if (hasKey(headers)) {
    keyIsThere(headers);
  } else if (params.operationName === "IntrospectionQuery") {
    return schemaWithNextKey(params);
  }
  const { kind, name } = chosen(params);
  const run = kind === "subscription" ? overSocket : overHttp;
  return run({ ...params, operationName: name || undefined }, headers);
};

// -------------------------------------------------------------------------------------------------------------- page

// A key that was typed into one tab is what the tabs that were not opened yet begin with.
const Page = () => {
  const [headers, setHeaders] = React.useState(JSON.stringify(hint, null, 2));
  const pause = React.useRef(0);
  const onEditHeaders = (text) => {
    const typed = parsed(text);
    if (hasKey(typed)) {
      setHeaders(text);
      clearTimeout(pause.current);
      pause.current = setTimeout(() => keyIsThere(typed), KEY_PAUSE_MS);
    }
  };
  const props = {
    fetcher,
    storage,
    onEditHeaders,
    defaultTabs: tabs,
    defaultHeaders: headers,
    defaultEditorToolsVisibility: "headers",
    shouldPersistHeaders: false,
  };
  return React.createElement(GraphiQL, props, React.createElement(GraphiQL.Logo, null, "Heliograph"));
};

const root = document.getElementById("graphiql");
if (["React", "ReactDOM", "GraphiQL", "graphqlWs"].every((name) => name in window)) {
  ReactDOM.createRoot(root).render(React.createElement(Page));
} else {
  root.textContent = "GraphiQL could not be loaded: its files are not on the server, and the CDN does not answer. "
    + "`make install` puts them on the server where npm is installed.";
}
