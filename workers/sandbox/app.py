"""The sandbox over HTTP: what was "sent" to nobody, as JSON for programs and as pages for people.

    GET /sandbox/messages            the newest mails and pushes; ?limit=
    DELETE /sandbox/messages         forget all of them
    GET /sandbox/messages/{id}       one of them, with a mail's source
    GET /sandbox/messages/{id}/html  a mail's HTML, fit for a frame
    GET /sandbox/messages/{id}/raw   a mail's source
    GET /sandbox/messages/{id}/attachments/{number}  one of a mail's files, counted from 0, to be saved
    GET /sandbox/inbox               mails; ?q=&page=, and &part=list for the list alone
    GET /sandbox/inbox/pushes        pushes; likewise
    GET /sandbox/inbox/{id}          one mail

Nothing here asks who reads: it is for a machine of one's own (`docs/sandbox.md`).
"""

import asyncio
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from workers.sandbox.fcm import FcmStore, fcm_app
from workers.sandbox.inbox.listing import Wanted
from workers.sandbox.inbox.pages import SHY, Pages, frame
from workers.sandbox.mail import KeptMail
from workers.sandbox.mailbox import Mailbox

SHOWN = 50
MAX_SHOWN = 500
_NOTHING = "default-src 'none'; frame-ancestors 'none'; sandbox"


def sandbox_app(mailbox: Mailbox, pushes: FcmStore) -> Starlette:
    """All of the above, and the FCM endpoint below `/v1/projects`."""
    messages, inbox = _Messages(mailbox, pushes), _Inbox(mailbox, pushes)
    return Starlette(
        routes=[
            Route("/sandbox/messages", messages.newest),
            Route("/sandbox/messages", messages.forget, methods=["DELETE"]),
            Route("/sandbox/messages/{id}", messages.one),
            Route("/sandbox/messages/{id}/html", messages.html),
            Route("/sandbox/messages/{id}/raw", messages.raw),
            Route("/sandbox/messages/{id}/attachments/{number:int}", messages.attachment),
            Route("/sandbox/inbox", inbox.mails),
            Route("/sandbox/inbox/pushes", inbox.pushes),
            Route("/sandbox/inbox/{id}", inbox.mail),
            Mount("/", fcm_app(pushes)),
        ]
    )


class _Messages:
    """For programs. What takes long, parsing a mail, is done beside the event loop."""

    def __init__(self, mailbox: Mailbox, pushes: FcmStore) -> None:
        self._mailbox, self._pushes = mailbox, pushes

    async def newest(self, request: Request) -> Response:
        limit = _limit(request)
        mails, pushes = self._mailbox.kept[:limit], self._pushes.messages[-limit:][::-1]
        return await asyncio.to_thread(lambda: _json({"emails": [kept.mail for kept in mails], "pushes": pushes}))

    async def forget(self, _: Request) -> Response:
        self._mailbox.clear()
        self._pushes.clear()
        return Response(status_code=204, headers=SHY)

    async def one(self, request: Request) -> Response:
        id = request.path_params["id"]
        kept, push = self._mailbox.find(id), self._pushes.find(id)
        if kept is not None:
            return await asyncio.to_thread(lambda: _json(_whole(kept)))
        if push is not None:
            return _json({"kind": "push", **msgspec.structs.asdict(push)})
        return _json({"error": "There is no such message, or it is no longer kept."}, 404)

    async def html(self, request: Request) -> Response:
        kept = self._mailbox.find(request.path_params["id"])
        html = None if kept is None else (await asyncio.to_thread(lambda: kept.mail)).html
        return _absent() if html is None else frame(html)

    async def raw(self, request: Request) -> Response:
        kept = self._mailbox.find(request.path_params["id"])
        if kept is None:
            return _absent()
        return PlainTextResponse(kept.raw, headers={**SHY, "Content-Security-Policy": _NOTHING})

    async def attachment(self, request: Request) -> Response:
        """To be saved under its name and never to be shown, whatever type it says it has."""
        kept, number = self._mailbox.find(request.path_params["id"]), request.path_params["number"]
        found = None if kept is None else await asyncio.to_thread(kept.file, number)
        if found is None:
            return _absent()
        file, content = found
        named = f"attachment; filename*=utf-8''{quote(file.filename, safe='')}"
        headers = {**SHY, "Content-Security-Policy": _NOTHING, "Content-Disposition": named}
        return Response(content, headers=headers, media_type="application/octet-stream")


class _Inbox:
    """For people."""

    def __init__(self, mailbox: Mailbox, pushes: FcmStore) -> None:
        self._mailbox, self._pushes, self._pages = mailbox, pushes, Pages()

    async def mails(self, request: Request) -> Response:
        return await asyncio.to_thread(self._pages.mails, self._mailbox.kept, _wanted(request))

    async def pushes(self, request: Request) -> Response:
        return await asyncio.to_thread(self._pages.pushes, self._pushes.messages[::-1], _wanted(request))

    async def mail(self, request: Request) -> Response:
        kept = self._mailbox.find(request.path_params["id"])
        return self._pages.missing() if kept is None else await asyncio.to_thread(self._pages.mail, kept)


def _whole(kept: KeptMail) -> dict[str, Any]:
    return {"kind": "email", **msgspec.structs.asdict(kept.mail), "raw": kept.raw.decode("utf-8", "replace")}


def _json(found: Any, status: int = 200) -> Response:
    headers = {**SHY, "Content-Security-Policy": _NOTHING}
    return Response(msgspec.json.encode(found), status, headers, "application/json")


def _absent() -> Response:
    return PlainTextResponse("There is no such mail, or it is no longer kept.", 404, SHY)


def _wanted(request: Request) -> Wanted:
    given = request.query_params
    return Wanted.of(given.get("q", ""), given.get("page", ""), alone=given.get("part") == "list")


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(SHOWN))
    return min(int(text), MAX_SHOWN) if text.isdecimal() and len(text) < 6 and int(text) else SHOWN
