"""The page for people: GraphiQL, with subscriptions over the same URL.

It loads from `static/` beside this file where the assets are there, else from a CDN, held to their hashes. Its policy
lets nothing run that does not carry the page's nonce. Headers are not stored.
"""

import json
import secrets
from html import escape
from pathlib import Path

import msgspec
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).with_name("static")
STATIC_URL = "/graphql/static"
CDN = "https://cdn.jsdelivr.net"


class Asset(msgspec.Struct, frozen=True):
    """A file of the page: its name in `static/`, its path on the CDN, and its hash (Subresource Integrity)."""

    file: str
    path: str
    integrity: str


SCRIPTS = (
    Asset(
        "react.production.min.js",
        "/npm/react@18.3.1/umd/react.production.min.js",
        "sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z",
    ),
    Asset(
        "react-dom.production.min.js",
        "/npm/react-dom@18.3.1/umd/react-dom.production.min.js",
        "sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1",
    ),
    Asset(
        "graphql-ws.min.js",
        "/npm/graphql-ws@6.4.2/umd/graphql-ws.min.js",
        "sha384-mxvR4Mzbsb6QVx/9xI2gtQikQA6m8zMDBFnu3l//4/ROsWt7y2sUGWd+/tYQqDm7",
    ),
    Asset(
        "graphiql.min.js",
        "/npm/graphiql@4.1.2/graphiql.min.js",
        "sha384-9XdHu7ajgGJziD4J1zNBKQ842Q/+zZfDv+ib1eMhZWBH6hPAs806x+Jbcf0yNO6B",
    ),
)
STYLES = (
    Asset(
        "graphiql.min.css",
        "/npm/graphiql@4.1.2/graphiql.min.css",
        "sha384-1el1QShFBnnXTx9x/Cprg82hZWKt0ry29OAYIXt05swbi0KcZDFoj0CWguMpopJr",
    ),
)

SEND = """# Put your API key into the Headers tab below, then press play.
mutation Send($input: SendNotificationInput!) {
  send_notification(input: $input) {
    success
    message
    error { code message ... on ValidationError { fields { path code message } } }
    data { duplicate accepted request { id request_id } notifications { id channel status reason } }
  }
}
"""
SEND_VARIABLES = {
    "input": {
        "recipient": {"email": "ada@example.com"},
        "content": {"subject": "Hello {{ name }}", "text": "Signals back."},
        "variables": {"name": "Ada"},
    }
}
WATCH = """# Every status change, live. `after: <cursor>` goes on without a hole.
subscription Watch {
  status_feed { cursor notification_id channel status previous_status reason occurred_at }
}
"""
TEMPLATE = """mutation CreateTemplate($input: CreateTemplateInput!) {
  create_template(input: $input) {
    success
    message
    error { code message ... on ValidationError { fields { path code message } } }
    data { key published_version versions { version published variables } }
  }
}
"""
TEMPLATE_VARIABLES = {
    "input": {
        "key": "welcome",
        "publish": True,
        "version": {
            "locales": [
                {"locale": "en", "subject": "Welcome, {{ name }}", "html": "<p>Good to see you, {{ name }}.</p>"},
                {"locale": "pt", "subject": "Bem-vindo, {{ name }}", "html": "<p>Que bom ver você, {{ name }}.</p>"},
            ]
        },
    }
}
HEADERS = {"Authorization": "Bearer hg_..."}

_SCRIPT = """
const url = location.origin + location.pathname;
const socketUrl = url.replace(/^http/, "ws");
const credentials = (headers) => Object.fromEntries(
  Object.entries(headers || {}).filter(([name]) => /^(authorization|x-api-key)$/i.test(name)));
const overSocket = (params, headers) => {
  const client = graphqlWs.createClient({ url: socketUrl, connectionParams: credentials(headers) });
  return { async *[Symbol.asyncIterator]() {
    try { yield* client.iterate(params); } finally { client.dispose(); }
  } };
};
const overHttp = async (params, headers) => {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/graphql-response+json", ...headers },
    body: JSON.stringify(params),
  });
  return response.json();
};
const isSubscription = (params, options) => {
  const operations = ((options && options.documentAST) || { definitions: [] }).definitions
    .filter((node) => node.kind === "OperationDefinition");
  const wanted = params.operationName;
  const chosen = operations.find((node) => !wanted || (node.name && node.name.value === wanted));
  return Boolean(chosen) && chosen.operation === "subscription";
};
const fetcher = (params, options) => {
  const headers = options && options.headers;
  return isSubscription(params, options) ? overSocket(params, headers) : overHttp(params, headers);
};
const tabs = JSON.parse(document.getElementById("tabs").textContent);
ReactDOM.createRoot(document.getElementById("graphiql")).render(React.createElement(GraphiQL, {
  fetcher, defaultTabs: tabs, isHeadersEditorEnabled: true, shouldPersistHeaders: false,
  defaultEditorToolsVisibility: "headers",
}));
"""


class Playground:
    """Makes the page. Looks once whether the assets are in `static`."""

    def __init__(self, static: Path = STATIC) -> None:
        self._local = all((static / asset.file).is_file() for asset in (*SCRIPTS, *STYLES))

    def page(self) -> Response:
        """The page, with a nonce of its own."""
        nonce = secrets.token_urlsafe(16)
        headers = {
            "Content-Security-Policy": self._policy(nonce),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return HTMLResponse(self._html(nonce), headers=headers)

    def _policy(self, nonce: str) -> str:
        source = "'self'" if self._local else CDN
        return "; ".join(
            (
                "default-src 'none'",
                f"script-src 'nonce-{nonce}'",
                # The editor sets styles on its elements; styles cannot carry a nonce there.
                f"style-src {source} 'unsafe-inline'",
                f"font-src {source} data:",
                "img-src 'self' data:",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        )

    def _html(self, nonce: str) -> str:
        styles = "".join(f'<link rel="stylesheet" {self._source(asset, "href")}>' for asset in STYLES)
        scripts = "".join(f'<script nonce="{nonce}" {self._source(asset, "src")}></script>' for asset in SCRIPTS)
        tabs = json.dumps(_tabs()).replace("<", "\\u003c")
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Heliograph</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"{styles}<style>body{{margin:0}}#graphiql{{height:100vh}}</style></head>"
            f'<body><div id="graphiql">Loading…</div>{scripts}'
            f'<script nonce="{nonce}" type="application/json" id="tabs">{tabs}</script>'
            f'<script nonce="{nonce}">{_SCRIPT}</script></body></html>'
        )

    def _source(self, asset: Asset, attribute: str) -> str:
        if self._local:
            return f'{attribute}="{STATIC_URL}/{escape(asset.file)}"'
        return f'{attribute}="{CDN}{escape(asset.path)}" integrity="{asset.integrity}" crossorigin="anonymous"'


def assets_route(static: Path = STATIC) -> list[Mount]:
    """Serves the assets, where they are."""
    return [Mount(STATIC_URL, StaticFiles(directory=static))] if static.is_dir() else []


def _tabs() -> list[dict[str, str]]:
    headers = json.dumps(HEADERS, indent=2)
    examples = (
        (SEND, json.dumps(SEND_VARIABLES, indent=2)),
        (WATCH, ""),
        (TEMPLATE, json.dumps(TEMPLATE_VARIABLES, indent=2, ensure_ascii=False)),
    )
    return [{"query": query, "variables": variables, "headers": headers} for query, variables in examples]
