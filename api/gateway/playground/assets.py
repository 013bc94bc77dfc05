"""The files that GraphiQL is made of: the one list of them, for the page and for their installation.

Their versions are those of `package.json`. Needs nothing but the standard library, so that it works before Heliograph's
own dependencies are installed.
"""

import json
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha384
from pathlib import Path

HERE = Path(__file__).parent
STATIC = HERE.with_name("static")
"""Where the files are installed: `api/gateway/static`."""


@dataclass(frozen=True)
class Asset:
    """A file of the page: the npm package it is from, its path in there, and its hash (Subresource Integrity)."""

    package: str
    path: str
    integrity: str

    @property
    def name(self) -> str:
        """What it is called in `static`."""
        return self.path.rpartition("/")[2]

    def is_intact(self, content: bytes) -> bool:
        """Whether this is the content that was hashed."""
        return self.integrity == "sha384-" + b64encode(sha384(content).digest()).decode()


# In the order in which the page needs them.
SCRIPTS = (
    Asset(
        "react",
        "umd/react.production.min.js",
        "sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z",
    ),
    Asset(
        "react-dom",
        "umd/react-dom.production.min.js",
        "sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1",
    ),
    Asset(
        "graphql-ws",
        "umd/graphql-ws.min.js",
        "sha384-mxvR4Mzbsb6QVx/9xI2gtQikQA6m8zMDBFnu3l//4/ROsWt7y2sUGWd+/tYQqDm7",
    ),
    Asset(
        "graphiql",
        "graphiql.min.js",
        "sha384-9XdHu7ajgGJziD4J1zNBKQ842Q/+zZfDv+ib1eMhZWBH6hPAs806x+Jbcf0yNO6B",
    ),
)
STYLES = (
    Asset(
        "graphiql",
        "graphiql.min.css",
        "sha384-1el1QShFBnnXTx9x/Cprg82hZWKt0ry29OAYIXt05swbi0KcZDFoj0CWguMpopJr",
    ),
)
ASSETS = (*SCRIPTS, *STYLES)


def are_installed(static: Path = STATIC) -> bool:
    """Whether all files are there."""
    return all((static / asset.name).is_file() for asset in ASSETS)


def versions() -> dict[str, str]:
    """The exact version of each package."""
    found: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
    return found
