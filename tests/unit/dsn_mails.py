"""Bounces as the world's mail servers write them: made up by us, in the shape of each."""

HEAD = """\
From: {sender}
To: bounces@example.com
Subject: {subject}
MIME-Version: 1.0
"""

ORIGINAL = """\
Return-Path: <bounces@example.com>
From: Heliograph <no-reply@example.com>
To: Ada Lovelace <ada.lovelace@example.net>
Subject: Your invoice
Message-ID: <ntf_1@example.com>

Status: 2.0.0
Action: delivered
Hello Ada
"""


def report(
    fields: str,
    *,
    text: str = "It could not be delivered.",
    status_type: str = "message/delivery-status",
    encoding: str = "",
    original: str = ORIGINAL,
    original_type: str = "message/rfc822",
    ending: str = "--=_b--\n",
    extra: str = "",
) -> bytes:
    """A multipart/report (RFC 3462) around the fields of a delivery status."""
    head = HEAD.format(sender="MAILER-DAEMON@mx.example.net (Mail Delivery System)", subject="Undelivered Mail")
    coded = f"Content-Transfer-Encoding: {encoding}\n" if encoding else ""
    return (
        f"{head}{extra}Content-Type: multipart/report; report-type=delivery-status;\n"
        f' boundary="=_b"\n\n--=_b\nContent-Type: text/plain; charset=us-ascii\n\n{text}\n\n'
        f"--=_b\nContent-Type: {status_type}\n{coded}\n{fields}\n"
        f"--=_b\nContent-Type: {original_type}\n\n{original}\n{ending}"
    ).encode()


def plain(text: str, *, subject: str = "failure notice", extra: str = "", sender: str = "MAILER-DAEMON") -> bytes:
    """A mail of one text."""
    return (HEAD.format(sender=sender, subject=subject) + extra + "\n" + text).encode()


POSTFIX = report(
    """\
Reporting-MTA: dns; relay.example.com
X-Postfix-Queue-ID: 4F1C220043
X-Postfix-Sender: rfc822; bounces@example.com
Arrival-Date: Tue,  2 Jan 2026 03:04:05 +0000 (UTC)

Final-Recipient: rfc822; ada.lovelace@example.net
Original-Recipient: rfc822;ada.lovelace@example.net
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.net
Diagnostic-Code: smtp; 550 5.1.1 <ada.lovelace@example.net>: Recipient address
    rejected: User ada.lovelace unknown in local recipient table
""",
    extra="Auto-Submitted: auto-replied\n",
)
POSTFIX_DELAYED = report(
    """\
Reporting-MTA: dns; relay.example.com

Final-Recipient: rfc822; ada.lovelace@example.net
Action: delayed
Status: 4.4.1
Diagnostic-Code: X-Postfix; connect to mx.example.net[192.0.2.7]:25: Connection timed out
Will-Retry-Until: Sun, 7 Jan 2026 03:04:05 +0000 (UTC)
"""
)
SENDMAIL_EXPIRED = report(
    """\
Reporting-MTA: dns; relay.example.com
Arrival-Date: Tue, 2 Jan 2026 03:04:05 GMT

Final-Recipient: RFC822; ada.lovelace@example.net
Action: failed
Status: 4.4.7
Remote-MTA: DNS; mx.example.net
Last-Attempt-Date: Sun, 7 Jan 2026 03:04:05 GMT
"""
)
EXCHANGE_QUOTA = report(
    """\
Reporting-MTA: dns;EX01.corp.example.net
Received-From-MTA: dns;relay.example.com

Original-Recipient: rfc822;ada.lovelace@example.net
Final-Recipient: rfc822;ada.lovelace@example.net
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp;554 5.2.2 mailbox full; STOREDRV.Deliver: QuotaExceededException
X-Display-Name: Ada Lovelace
""",
    original_type="text/rfc822-headers",
)
GMAIL_DELIVERED = report(
    """\
Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; ada.lovelace@example.net
Action: delivered
Status: 2.0.0
"""
)
RELAYED = report("Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; a@b.c\nAction: relayed (to a server without DSN)\n")
EXPANDED = report("Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; a@b.c\nAction: expanded\nStatus: 2.0.0\n")
VAGUE = report(
    """\
Reporting-MTA: dns; a.example

Final-Recipient: rfc822; ada.lovelace@example.net
Action: failed
Status: 5.0.0
Diagnostic-Code: smtp; 550-5.7.26 This mail has been blocked because the sender is
 unauthenticated
"""
)
INTERNATIONAL = report(
    """\
Reporting-MTA: dns; a.example

Final-Recipient: utf-8; ада@пример.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <ада@пример.example>: Почтовый ящик не найден
""",
    status_type="message/global-delivery-status",
)
BASE64 = report(
    "UmVwb3J0aW5nLU1UQTogZG5zOyBhLmV4YW1wbGUKCkZpbmFsLVJlY2lwaWVudDogcmZjODIyOyBhQGIuYwpBY3Rpb246IGZhaWxlZAp"
    "TdGF0\ndXM6IDUuMS4yCkRpYWdub3N0aWMtQ29kZTogc210cDsgNTUwIEhvc3QgdW5rbm93bgo=\n",
    encoding="base64",
)
TEXT_INSTEAD = report(
    "Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; a@b.c\nAction: failed\nStatus: 5.1.1\n", status_type="text/plain"
)
NO_END = report(
    "Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; a@b.c\nAction: FAILED\nStatus: 5.1.1 (no such user)\n",
    ending="",
)
NO_ACTION = report("Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; a@b.c\nStatus: 5.1.10\n")
NO_STATUS = report(
    "Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; a@b.c\nAction: failed\nDiagnostic-Code: smtp; 552 over quota\n"
)
NESTED = (
    (
        HEAD.format(sender="postmaster@example.net", subject="Fwd")
        + 'Content-Type: multipart/mixed; boundary="out"\n\n--out\nContent-Type: text/plain\n\nSee below.\n\n'
        "--out\nContent-Type: message/rfc822\n\n"
    ).encode()
    + POSTFIX
    + b"\n--out--\n"
)
TWO = report(
    "Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; a@b.c\nAction: failed\nStatus: 5.1.1\n\n"
    "Final-Recipient: rfc822; d@e.f\nAction: delayed\nStatus: 4.2.2\n"
)

QMAIL = plain(
    """\
Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ada.lovelace@example.net>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

"""
    + ORIGINAL
)
QMAIL_REMOTE = plain(
    """\
Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.

<ada.lovelace@example.net>:
192.0.2.7 does not like recipient.
Remote host said: 452 4.2.2 <ada.lovelace@example.net> is over quota
Giving up on 192.0.2.7.

--- Below this line is a copy of the message.

"""
    + ORIGINAL
)
EXIM = plain(
    """\
This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ada.lovelace@example.net
    host mx.example.net [192.0.2.7]
    SMTP error from remote mail server after RCPT TO:<ada.lovelace@example.net>:
    550 5.1.1 no such user here

------ This is a copy of the message, including all the headers. ------

"""
    + ORIGINAL,
    subject="Mail delivery failed: returning message to sender",
    extra="X-Failed-Recipients: ada.lovelace@example.net\nAuto-Submitted: auto-replied\n",
)
EXIM_DELAYED = plain(
    """\
This message was created automatically by mail delivery software.
A message that you sent has not yet been delivered to one or more of its
recipients after more than 24 hours on the queue on mx.example.net.

  ada.lovelace@example.net
    Delay reason: 451 4.7.1 greylisted

No action is required on your part. Delivery attempts will continue for
some time.
""",
    subject="Warning: message 1abc-0001-Xy delayed 24 hours",
    extra="Auto-Submitted: auto-replied\n",
)
EXCHANGE_OLD = plain(
    """\
Your message did not reach some or all of the intended recipients.

      Subject:  Your invoice
      Sent:     2.1.2026 03:04

The following recipient(s) could not be reached:

      Ada Lovelace on 2.1.2026 03:04
            The e-mail account does not exist at the organization this message was sent to.
            <mx.example.net #5.1.1 smtp;550 5.1.1 ada.lovelace@example.net unknown>
""",
    subject="Undeliverable: Your invoice",
    sender="System Administrator <postmaster@example.net>",
)

VACATION = plain(
    "I am away until Monday. If it is urgent, room 5.1.1 knows: ada@example.net. Call 550 1234.\n",
    subject="Out of office",
    extra="Auto-Submitted: auto-replied\n",
    sender="Ada <ada.lovelace@example.net>",
)
READ_RECEIPT = report(
    "Reporting-UA: mail.example; Mailer\nFinal-Recipient: rfc822; a@b.c\n"
    "Disposition: manual-action/MDN-sent-manually; displayed\n",
    status_type="message/disposition-notification",
)


def complaint(kind: str) -> bytes:
    """A complaint in the Abuse Reporting Format."""
    fields = (
        f"Feedback-Type: {kind}\nUser-Agent: SomeGenerator/1.0\nVersion: 1\n"
        "Original-Mail-From: <bounces@example.com>\nOriginal-Rcpt-To: <ada.lovelace@example.net>\n"
    )
    return report(fields, status_type="message/feedback-report")
