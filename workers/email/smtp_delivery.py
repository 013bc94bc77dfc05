"""The conversation about one mail, and what its replies come to.

The one ambiguous moment is between the final dot and the answer to it: whatever goes wrong there is UNKNOWN, and
whatever goes wrong before it is TRANSIENT, because the server cannot have taken the mail yet. Only a clean reply lets
a connection carry another mail.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from domain.notification import Outcome
from domain.outgoing import Answer, OutgoingEmail
from workers.email.discretion import MAX_DETAIL, discreet
from workers.email.headers import wire_address
from workers.email.mime import for_data, needs_smtputf8, pieces
from workers.email.refused_address import refuses_address
from workers.email.smtp_connection import Connection, DisconnectedError, MalformedReplyError, Reply, SmtpError
from workers.email.smtp_limits import is_rate_limit

_SERVICE_CLOSING = 421
_SLICE = 256 * 1024
"""Bytes of a mail that are written at once."""
Sign = Callable[[Sequence[bytes]], Sequence[bytes]]
_OUR_TROUBLE = frozenset({503, 530, 534, 535, 538})  # commands out of order; a login or encryption that is missing
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")


class Stage(StrEnum):
    """What the server was asked; the value finishes the sentence "The mail server refused …"."""

    RESET = "to start over"
    SENDER = "the sender"
    RECIPIENT = "the recipient"
    DATA = "to take the mail"
    CONTENT = "the mail"


_WANTED = {Stage.RESET: 2, Stage.SENDER: 2, Stage.RECIPIENT: 2, Stage.DATA: 3, Stage.CONTENT: 2}


class Envelope(msgspec.Struct, frozen=True):
    """A mail ready for the wire: commands without their CRLF, the message with its dots doubled and the final one.

    `size` is what the message has without those dots.
    """

    mail_from: bytes
    rcpt_to: bytes
    message: bytes
    international: bool
    size: int

    @classmethod
    def of(cls, mail: OutgoingEmail, date: datetime, sign: Sign | None = None) -> "Envelope":
        """Written out, and the message as `sign` gives it back. Raises ValueError for what cannot be mailed."""
        international = needs_smtputf8(mail)
        sender = wire_address(mail.envelope_sender or mail.sender)
        message = pieces(mail, date)
        signed = message if sign is None else sign(message)
        parameters = " SMTPUTF8 BODY=8BITMIME" if international else ""
        return cls(
            f"MAIL FROM:<{sender}>{parameters}".encode(),
            f"RCPT TO:<{wire_address(mail.to)}>".encode(),
            for_data(*signed),
            international,
            sum(map(len, signed)),
        )


class Delivery:
    """The conversation about one mail, and how far it got."""

    def __init__(self, mail: OutgoingEmail, envelope: Envelope) -> None:
        self.answered = False  # the server has said something about this mail
        self._undecided = False  # the final dot is out and its answer is not in
        self._mail = mail
        self._envelope = envelope

    async def over(self, connection: Connection) -> Answer:
        """Have it. Raises `SmtpError` when it ends without a reply that settles the mail."""
        if self._envelope.international and "smtputf8" not in connection.extensions:
            detail = "The mail server takes no address with more than ASCII before the @."
            return Answer(outcome=Outcome.PERMANENT, code="5.6.7", detail=detail)
        if connection.max_size is not None and self._envelope.size > connection.max_size:
            return _too_large(self._envelope.size, connection.max_size)
        connection.clean = False
        refused = await self._announce(connection)
        if refused is not None:
            return refused
        connection.needs_reset = False
        whole = await self._write(connection)
        reply = await self._heard(connection)
        if reply.code < 400 and not (whole and reply.code // 100 == _WANTED[Stage.CONTENT]):
            self._undecided = whole
            raise MalformedReplyError
        connection.clean = whole
        return self._judged(Stage.CONTENT, reply)

    async def _write(self, connection: Connection) -> bool:
        """The mail, a slice after the other: only the last one has the final dot. Whether the server heard it out."""
        message = memoryview(self._envelope.message)
        connection.expect()
        for start in range(0, len(message), _SLICE):
            self._undecided = start + _SLICE >= len(message)
            if not await connection.pour(message[start : start + _SLICE]):
                self._undecided = False
                return False
        return True

    def broken_off(self, failure: SmtpError) -> Answer:
        """The answer when no reply settled it."""
        sentence = str(failure)
        if self._undecided:
            sentence = f"{sentence.rstrip('.')} after it had the whole mail."
        return Answer(
            outcome=Outcome.UNKNOWN if self._undecided else Outcome.TRANSIENT,
            code=failure.code,
            detail=sentence,
            provider_message_id=self._mail.message_id if self._undecided else None,
            rate_limited=failure.rate_limited and not self._undecided,
        )

    async def _announce(self, connection: Connection) -> Answer | None:
        """Sender, recipient and DATA, in one go where the server allows it; the answer if one of them is refused."""
        steps = self._steps(connection)
        pipelining = "pipelining" in connection.extensions
        connection.needs_reset = True
        if pipelining:
            connection.send(b"".join(command for _, command in steps), len(steps))
        refused, in_step = None, True
        for stage, command in steps:
            if not pipelining:
                connection.send(command)
            reply = await self._heard(connection)
            if reply.code // 100 != _WANTED[stage]:
                refused = refused or self._judged(stage, reply)
                in_step = in_step and reply.code >= 400 and stage is not Stage.RESET
            elif refused is not None and stage is Stage.DATA:
                in_step = False  # it refused the recipient and wants the mail all the same: leave it there
            if refused is not None and not pipelining:
                break
        connection.clean = refused is not None and in_step
        return refused

    def _steps(self, connection: Connection) -> list[tuple[Stage, bytes]]:
        steps = [
            (Stage.SENDER, self._envelope.mail_from + b"\r\n"),
            (Stage.RECIPIENT, self._envelope.rcpt_to + b"\r\n"),
            (Stage.DATA, b"DATA\r\n"),
        ]
        return [(Stage.RESET, b"RSET\r\n"), *steps] if connection.needs_reset else steps

    async def _heard(self, connection: Connection) -> Reply:
        reply = await connection.reply()
        self._undecided = False
        if reply.code == _SERVICE_CLOSING:  # says nothing about the mail; the connection ends whatever was asked
            sentence = f"The mail server is closing the connection (421): {_text(reply, self._mail)}"
            raise DisconnectedError(str(reply.code), sentence, rate_limited=is_rate_limit(reply.code, reply.text))
        self.answered = True
        return reply

    def _judged(self, stage: Stage, reply: Reply) -> Answer:
        outcome = _outcome(stage, reply.code, international=self._envelope.international)
        if outcome is Outcome.ACCEPTED:
            return Answer(outcome=outcome, code=_code(reply), provider_message_id=self._mail.message_id)
        detail = f"The mail server refused {stage} ({reply.code}): {_text(reply, self._mail)}"
        # A sender that is refused is about us and our server, not about this mail.
        ours = stage is Stage.SENDER and outcome is Outcome.TRANSIENT
        return Answer(
            outcome=outcome,
            code="sender_refused" if ours else _code(reply),
            detail=detail[:MAX_DETAIL],
            retire_contact_point=_no_such_address(stage, outcome, reply),
            rate_limited=is_rate_limit(reply.code, reply.text),
        )


def _outcome(stage: Stage, code: int, *, international: bool) -> Outcome:
    """What a reply comes to. A sender that is refused is our configuration's fault and must not burn the mail."""
    kind = code // 100
    if stage is Stage.CONTENT and kind == 2:
        return Outcome.ACCEPTED
    if kind != 5 or code in _OUR_TROUBLE or stage is Stage.RESET:
        return Outcome.TRANSIENT
    if stage is Stage.SENDER and not international:
        return Outcome.TRANSIENT
    return Outcome.PERMANENT


def _too_large(size: int, limit: int) -> Answer:
    """Nothing was said yet, so the connection may carry another mail."""
    detail = f"The mail has {size:,} bytes, and the mail server takes {limit:,} at most."
    return Answer(outcome=Outcome.PERMANENT, code="5.3.4", detail=detail)


def _no_such_address(stage: Stage, outcome: Outcome, reply: Reply) -> bool:
    return stage is Stage.RECIPIENT and outcome is Outcome.PERMANENT and refuses_address(reply.code, reply.text)


def _code(reply: Reply) -> str:
    """The enhanced status code (RFC 3463) where there is one of the same class, else the plain one."""
    enhanced = _ENHANCED.match(reply.text)
    plain = str(reply.code)
    return enhanced[1] if enhanced is not None and enhanced[1][0] == plain[0] else plain


def _text(reply: Reply, mail: OutgoingEmail) -> str:
    """What was said, on one line, without the codes and without the recipient's address and name."""
    said = " ".join(
        line[match.end() :] if (match := _ENHANCED.match(line)) else line for line in reply.text.split("\n")
    )
    return discreet(said, mail) or "no reason was given"
