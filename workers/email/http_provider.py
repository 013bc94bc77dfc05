"""What every email provider that is called over HTTP has in common: the call, its deadline, and what an answer means.

A provider of its own file says how a mail becomes its request, where its answer has the message id, and how its errors
are spelled; docs/providers.md shows one in full. The classification is the same for all of them:

    the status that the provider promises for a mail it took, with an id    ACCEPTED
    400, 413, 422: this mail is refused, and would be again                 PERMANENT, but for what is said of us
    429                                                                     TRANSIENT, rate limited
    502, 504, no whole answer, any other 2xx: it may have been taken        UNKNOWN
    everything else, or nothing was written                                 TRANSIENT

What is for the operator to mend (a key, an account, a sender that is not verified) is TRANSIENT: it must not cost a
recipient the notification, and the next provider may have no such trouble.
"""

import asyncio
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from domain.attachments import filename_problem, type_problem
from domain.errors import ConfigurationError
from domain.notification import Outcome
from domain.outgoing import Answer, File, OutgoingEmail
from workers.email.discretion import MAX_DETAIL, discreet
from workers.email.headers import refuse_breaks, wire_address
from workers.email.mime import extra_field
from workers.http_answer import asked_to_wait, json_object
from workers.http_pool import CONNECT_SECONDS, HttpPool, NoAnswerError, NotSentError, Reply

CONNECTIONS = 100
"""Calls in flight per provider and process."""

_CODES = {401: "unauthorized", 403: "forbidden", 413: "too_large", 429: "rate_limited"}
_PERMANENT = frozenset({400, 413, 422})
_UNKNOWN = frozenset({502, 504})
"""A proxy in front of the provider lost the answer; the request may have passed."""
_MAX_ID = 255


class Request(msgspec.Struct, frozen=True):
    """A POST that carries one mail."""

    path: str
    content_type: str
    body: bytes


class Problem(msgspec.Struct, frozen=True):
    """What an error body says. `ours`: it is about us or our account, and not about this mail.

    `no_address`: it is about the recipient's address, which is none, and about nothing else.
    """

    sentence: str | None = None
    ours: bool = False
    no_address: bool = False


class HttpEmailProvider(ABC):
    """An `EmailProvider` over HTTP. A subclass names itself and its `accepted_status`, and fills in the three methods.

    `url` is the provider's base URL, `authorization` the header of that name, made from `secret`, which is never shown.
    No socket is opened before the first mail. At most `connections` calls are in flight, the others wait within their
    deadline; a connection that does not come about within `connect_within` seconds leaves the rest of the deadline to
    the next provider. `tls` replaces the default context; `clock` gives seconds since the epoch. Raises
    `ConfigurationError`.
    """

    name: str
    title: str
    accepted_status: int

    def __init__(
        self,
        url: str,
        authorization: str,
        secret: str,
        *,
        connections: int = CONNECTIONS,
        tls: ssl.SSLContext | None = None,
        connect_within: float = CONNECT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not (secret and secret.isascii() and secret.isprintable()):
            raise ConfigurationError(f"{self.title}'s API key is empty or holds characters that no key has.")
        try:
            self._http = HttpPool(url, connections=connections, tls=tls, connect_within=connect_within)
        except ValueError:
            raise ConfigurationError(f"{self.title}'s URL must be http or https.") from None
        self._headers = {"authorization": authorization, "accept": "application/json", "user-agent": "Heliograph"}
        self._secret = secret
        self._clock = clock

    @abstractmethod
    def request(self, mail: OutgoingEmail) -> Request:
        """The mail in the provider's words. Raises ValueError for what it cannot hold; see `checked`.

        One with files is written in a thread: work on pieces of them, so that the event loop has its turn in between.
        """

    @abstractmethod
    def message_id(self, reply: Reply) -> str | None:
        """The provider's id in an answer with `accepted_status`, or None."""

    @abstractmethod
    def problem(self, content: Mapping[str, Any]) -> Problem:
        """What an error's JSON says, which may be anything or nothing."""

    async def send(self, mail: OutgoingEmail, deadline: float) -> Answer:
        """One mail to one recipient within `deadline` seconds. Never raises for an answer, never tries twice."""
        try:
            request = await asyncio.to_thread(self.request, mail) if mail.files else self.request(mail)
        except ValueError as error:
            return self._answer(Outcome.PERMANENT, "unsendable", f"It cannot be mailed: {error}", mail)
        headers = {**self._headers, "content-type": request.content_type}
        try:
            reply = await self._http.post(request.path, headers, request.body, deadline)
        except NotSentError as error:
            return self._answer(Outcome.TRANSIENT, "not_sent", f"{self.title} was not reached: {error}.", mail)
        except NoAnswerError as error:
            return self._answer(Outcome.UNKNOWN, "no_answer", f"{self.title} may have taken it: {error}.", mail)
        return self._judged(reply, mail)

    async def close(self) -> None:
        """Let go of connections: calls under way end as UNKNOWN, later ones are not sent. May be called twice."""
        self._http.close()

    def _judged(self, reply: Reply, mail: OutgoingEmail) -> Answer:
        if reply.status == self.accepted_status and (id := self.message_id(reply)):
            return Answer(outcome=Outcome.ACCEPTED, provider_message_id=id[:_MAX_ID])
        if reply.status // 100 == 2:
            said = f"{self.title} answered {reply.status}, but not as it does for a mail that it took."
            return self._answer(Outcome.UNKNOWN, "unexpected_answer", said, mail)
        problem = self.problem(json_object(reply.body))
        outcome, code = classified(reply.status)
        if outcome is Outcome.PERMANENT and problem.ours:
            outcome, code = Outcome.TRANSIENT, "sender_refused"
        answer = self._answer(outcome, code, f"{self.title} answered {reply.status}: {_said(problem)}", mail)
        if outcome is not Outcome.TRANSIENT:
            # An address beyond ASCII may be one that only this provider cannot write to.
            gone = outcome is Outcome.PERMANENT and problem.no_address and mail.to.isascii()
            return msgspec.structs.replace(answer, retire_contact_point=gone)
        wait = asked_to_wait(reply.headers, self._clock())
        return msgspec.structs.replace(answer, retry_after=wait, rate_limited=reply.status == 429)

    def _answer(self, outcome: Outcome, code: str, said: str, mail: OutgoingEmail) -> Answer:
        """With a detail that may be shown: some providers quote the key, and many the recipient."""
        detail = discreet(said.replace(self._secret, "(key)"), mail)[:MAX_DETAIL]
        return Answer(outcome=outcome, code=code, detail=detail)


def checked(mail: OutgoingEmail) -> OutgoingEmail:
    """The mail with its addresses as the wire spells them. Raises ValueError for what no mail can hold.

    Providers build the mail themselves, and not all of them refuse a line break in a header.
    """
    for value in (mail.subject, mail.to_name or "", mail.sender_name or "", mail.message_id):
        refuse_breaks(value)
    for name, value in mail.headers:
        extra_field(name, value)
    for file in mail.files:
        if problem := filename_problem(file.filename) or type_problem(file.content_type):
            raise ValueError(f"An attachment {problem}.")
    if not (mail.text or mail.html):
        raise ValueError("A mail needs a text or an HTML body.")
    return msgspec.structs.replace(mail, to=wire_address(mail.to), sender=wire_address(mail.sender))


def base64_text(file: File) -> str:
    """A file's content in base64 on one line."""
    return b"".join(piece.replace(b"\r\n", b"") for piece in file.lines).decode("ascii")


def mailbox_text(name: str | None, address: str) -> str:
    """`"Name" <address>`. A name is always quoted: a comma in a bare one would make two recipients of one."""
    if not name:
        return address
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{address}>'


def classified(status: int) -> tuple[Outcome, str]:
    """The outcome and the code of an answer that is no success, for what its status alone says."""
    code = _CODES.get(status, f"http_{status}")
    if status in _PERMANENT:
        return Outcome.PERMANENT, code
    return Outcome.UNKNOWN if status in _UNKNOWN else Outcome.TRANSIENT, code


def _said(problem: Problem) -> str:
    return problem.sentence or "no reason was given"
