"""The page for people: GraphiQL, with subscriptions over the same URL.

It loads from `static` where the files are installed, else from a CDN, held to their hashes either way. Its policy lets
nothing run that does not carry the page's nonce. Headers are not stored.
"""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from string import Template

from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from api.gateway.playground.assets import ASSETS, HERE, SCRIPTS, STATIC, STYLES, Asset, are_installed, versions

CDN = "https://cdn.jsdelivr.net"
EXAMPLES = ("send", "watch", "template")
HINT = {"Authorization": "Bearer hg_..."}
_FOLDER = "graphql/static"
_SCRIPT = "init.js"
# Kept by the browser, but asked about each time: an upgrade never mixes old files with new ones.
_FRESH = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


class Playground:
    """Makes the page. Looks once whether the files are in `static`."""

    def __init__(self, static: Path = STATIC) -> None:
        self._local = are_installed(static)
        self._static = static
        self._versions = versions()
        self._template = Template((HERE / "page.html").read_text())
        self._setup = json.dumps({"hint": HINT, "tabs": [{"query": example(name)} for name in EXAMPLES]})

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

    def files(self) -> Mount:
        """Serves what the page loads from here."""
        found = {_SCRIPT: HERE / _SCRIPT}
        if self._local:
            found |= {asset.name: self._static / asset.name for asset in ASSETS}
        return Mount(f"/{_FOLDER}", _Files(found))

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
        styles = [f'<link rel="stylesheet" {self._source("href", asset)}>' for asset in STYLES]
        scripts = [f'<script nonce="{nonce}" {self._source("src", asset)}></script>' for asset in SCRIPTS]
        return self._template.substitute(
            nonce=nonce,
            folder=_FOLDER,
            styles="\n".join(styles),
            scripts="\n".join(scripts),
            setup=self._setup.replace("<", "\\u003c"),
        )

    def _source(self, attribute: str, asset: Asset) -> str:
        integrity = f'integrity="{asset.integrity}"'
        if self._local:
            return f'{attribute}="{_FOLDER}/{asset.name}" {integrity}'
        url = f"{CDN}/npm/{asset.package}@{self._versions[asset.package]}/{asset.path}"
        return f'{attribute}="{url}" {integrity} crossorigin="anonymous"'


class _Files(StaticFiles):
    """These files, by their names, and no others."""

    def __init__(self, found: Mapping[str, Path]) -> None:
        super().__init__()
        self._found = found

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        file = self._found.get(path)
        return ("", None) if file is None else (str(file), file.stat())

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_FRESH)
        return response


def example(name: str) -> str:
    """The document of one of the example tabs."""
    return (HERE / "examples" / f"{name}.graphql").read_text()
