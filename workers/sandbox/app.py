"""The sandbox over HTTP: what was "sent" to nobody, as JSON for programs and as a page for people."""

from html import escape

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from workers.sandbox.fcm import FcmStore, fcm_app
from workers.sandbox.mail import SandboxMail
from workers.sandbox.mailbox import Mailbox

SHOWN = 50
MAX_SHOWN = 500

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sandbox inbox</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="5">
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
article{{border:1px solid #8884;border-radius:.5rem;padding:.75rem 1rem;margin:.75rem 0}}
h2{{font-size:1rem;margin:0}}small{{color:#777}}pre{{white-space:pre-wrap;margin:.5rem 0 0}}</style>
<h1>Sandbox inbox</h1>
<p>Mail and push that were sent, and went nowhere. The newest is first; <a href="messages">as JSON</a>.</p>
<h1>Mail</h1>{mails}<h1>Push</h1>{pushes}</html>"""


def sandbox_app(mailbox: Mailbox, pushes: FcmStore) -> Starlette:
    """`/sandbox/inbox`, `/sandbox/messages`, and the FCM endpoint below `/v1/projects`."""

    async def messages(request: Request) -> Response:
        limit = _limit(request)
        found = {"emails": mailbox.messages(limit), "pushes": pushes.messages[-limit:][::-1]}
        return Response(msgspec.json.encode(found), media_type="application/json")

    async def inbox(_: Request) -> Response:
        mails = "".join(_mail(mail) for mail in mailbox.messages(SHOWN)) or "<p>None yet.</p>"
        shown = [_push(push.message) for push in pushes.messages[-SHOWN:][::-1]]
        page = _PAGE.format(mails=mails, pushes="".join(shown) or "<p>None yet.</p>")
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    return Starlette(
        routes=[
            Route("/sandbox/messages", messages),
            Route("/sandbox/inbox", inbox),
            Mount("/", fcm_app(pushes)),
        ]
    )


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(SHOWN))
    return min(int(text), MAX_SHOWN) if text.isdecimal() and len(text) < 6 and int(text) else SHOWN


def _mail(mail: SandboxMail) -> str:
    addressed = f"{mail.sender} → {', '.join(mail.envelope_recipients)}"
    return _article(mail.subject, addressed, mail.text or mail.html or "")


def _push(message: dict[str, object]) -> str:
    notification = message.get("notification")
    told = notification if isinstance(notification, dict) else {}
    return _article(str(told.get("title", "")), f"to {str(message.get('token', ''))[:12]}…", str(told.get("body", "")))


def _article(title: str, line: str, text: str) -> str:
    return f"<article><h2>{escape(title)}</h2><small>{escape(line)}</small><pre>{escape(text)}</pre></article>"
