"""What comes back by mail is read as it is meant, from whichever mail server; nothing that comes can do harm."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.callbacks import CallbackKind
from tests.unit import dsn_mails as mails
from workers.email.dsn import Report, reports_in

BOUNCED, DELAYED = CallbackKind.BOUNCED, CallbackKind.DELAYED
DELIVERED, COMPLAINED = CallbackKind.DELIVERED, CallbackKind.COMPLAINED
CORPUS = [value for name, value in vars(mails).items() if name.isupper() and isinstance(value, bytes)]


def only(content: bytes) -> Report:
    (report,) = reports_in(content)
    return report


@pytest.mark.parametrize(
    ("name", "kind", "permanent", "code"),
    [
        ("POSTFIX", BOUNCED, True, "5.1.1"),
        ("POSTFIX_DELAYED", DELAYED, False, "4.4.1"),
        ("SENDMAIL_EXPIRED", BOUNCED, False, "4.4.7"),
        ("EXCHANGE_QUOTA", BOUNCED, False, "5.2.2"),
        ("GMAIL_DELIVERED", DELIVERED, False, "2.0.0"),
        ("RELAYED", DELIVERED, False, None),
        ("VAGUE", BOUNCED, False, "5.7.26"),
        ("INTERNATIONAL", BOUNCED, True, "5.1.1"),
        ("BASE64", BOUNCED, True, "5.1.2"),
        ("TEXT_INSTEAD", BOUNCED, True, "5.1.1"),
        ("NO_END", BOUNCED, True, "5.1.1"),
        ("NO_ACTION", BOUNCED, True, "5.1.10"),
        ("NO_STATUS", BOUNCED, True, "552"),
        ("NESTED", BOUNCED, True, "5.1.1"),
        ("QMAIL", BOUNCED, True, "5.1.1"),
        ("QMAIL_REMOTE", BOUNCED, False, "4.2.2"),
        ("EXIM", BOUNCED, True, "5.1.1"),
        ("EXIM_DELAYED", DELAYED, False, "4.7.1"),
        ("EXCHANGE_OLD", BOUNCED, True, "5.1.1"),
    ],
)
def test_each_server_is_understood(name: str, kind: CallbackKind, permanent: bool, code: str | None) -> None:
    report = only(getattr(mails, name))
    assert (report.kind, report.permanent, report.code) == (kind, permanent, code)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("POSTFIX", "(address) Recipient address rejected: User (address) unknown in local recipient table"),
        ("POSTFIX_DELAYED", "connect to mx.example.net[192.0.2.7]:25: Connection timed out"),
        ("SENDMAIL_EXPIRED", "A mail server could not deliver it (4.4.7) and gave no reason."),
        ("EXCHANGE_QUOTA", "mailbox full; STOREDRV.Deliver: QuotaExceededException"),
        ("INTERNATIONAL", "(address) Почтовый ящик не найден"),
        ("QMAIL", "Sorry, no mailbox here by that name. (#5.1.1)"),
        ("QMAIL_REMOTE", "(address) is over quota"),
        ("EXIM", "no such user here"),
        ("GMAIL_DELIVERED", None),
    ],
)
def test_the_reason_is_what_the_server_said_without_the_address(name: str, sentence: str | None) -> None:
    assert only(getattr(mails, name)).reason == sentence


@pytest.mark.parametrize("kind", ["abuse", "fraud", "virus", "other", "Abuse"])
def test_a_complaint_is_one(kind: str) -> None:
    report = only(mails.complaint(kind))
    assert (report.kind, report.code) == (COMPLAINED, kind.lower())


@pytest.mark.parametrize(
    "content",
    [
        *(mails.complaint(kind) for kind in ("not-spam", "auth-failure", "")),
        *(mails.VACATION, mails.READ_RECEIPT, mails.EXPANDED),
        *(mails.plain(mails.ORIGINAL), b"", b"\r\n", b"\0" * 1000),
    ],
)
def test_what_says_nothing_of_a_delivery_is_no_report(content: bytes) -> None:
    assert reports_in(content) == ()


def test_a_report_on_several_recipients_says_all_of_it_and_each_thing_once() -> None:
    assert [report.kind for report in reports_in(mails.TWO)] == [BOUNCED, DELAYED]
    twice = mails.report("Final-Recipient: rfc822; a@b.c\nAction: failed\nStatus: 5.1.1\n\n" * 3)
    assert len(reports_in(twice)) == 1
    many = "\n\n".join(f"Final-Recipient: rfc822; a@b.c\nAction: failed\nStatus: 5.1.{n}" for n in range(50))
    assert len(reports_in(mails.report(many))) == 10


def test_what_was_returned_with_the_report_says_nothing() -> None:
    """The original has lines such as `Action: delivered` in it, put there by whoever wrote it."""
    assert "Action: delivered" in mails.ORIGINAL
    assert only(mails.POSTFIX).kind is BOUNCED
    without = mails.report("Reporting-MTA: dns; a\n")
    assert reports_in(without) == ()


@pytest.mark.parametrize("content", [mails.POSTFIX, mails.EXIM, mails.QMAIL])
def test_line_ends_do_not_matter(content: bytes) -> None:
    assert reports_in(content.replace(b"\n", b"\r\n")) == reports_in(content)


def test_deep_nesting_is_not_followed() -> None:
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (level, level) for level in range(3000))
    assert reports_in(deep + mails.POSTFIX) == ()


FAILED = "Final-Recipient: rfc822; a@b.c\nAction: failed\n"


@pytest.mark.parametrize(
    "content",
    [
        mails.report(FAILED + "Diagnostic-Code: smtp; " + "x" * 1_000_000),
        mails.report(FAILED + "Status: " + "5.1.1." * 150_000),
        mails.report(FAILED + "Diagnostic-Code: smtp; x" + "\n x" * 300_000),
        mails.report(FAILED * 20_000),
        mails.plain("-" * 1_000_000 + "\nHi. This is the qmail-send program"),
        mails.plain("Hi. This is the qmail-send program\n" + "a" * 1_000_000),
        mails.plain("", extra="Content-Type: multipart/report" + ";" * 1_000_000 + "\n"),
        mails.plain("", extra="Content-Type: multipart/report" + ";\n a=b" * 200_000 + "\n"),
        b"\n" * 1_000_000,
    ],
)
def test_the_worst_mails_come_to_an_end(content: bytes) -> None:
    assert len(reports_in(content)) <= 1


def test_no_half_of_an_address_is_left_where_a_reason_is_cut() -> None:
    said = "<ada@example.net> " * 110 + "x" * 10 + " secret.name@example.net"
    report = only(mails.report(f"{FAILED}Diagnostic-Code: smtp; {said}"))
    assert report.reason is not None
    assert "secret" not in report.reason


def test_a_long_reason_is_cut() -> None:
    report = only(mails.report("Final-Recipient: rfc822; a@b.c\nAction: failed\nDiagnostic-Code: smtp; " + "no " * 999))
    assert report.reason is not None
    assert len(report.reason) == 300


pieces = st.sampled_from(
    [
        *(b"Content-Type: multipart/report; boundary=b\n", b"Content-Type: message/delivery-status\n", b"--b\n"),
        *(b"Content-Type: message/rfc822\n", b"Content-Transfer-Encoding: base64\n", b"\n", b"--b--\n", b"\xff\0\n"),
        *(b"Action: failed\n", b"Status: 5.1.1\n", b"Diagnostic-Code: ; ;\n", b"Final-Recipient: rfc822;<@>\n"),
        *(b"Content-Type: text/plain; charset=\xff\n", b"=?utf-8?b?x?=", b"Hi. This is the qmail-send program\n"),
        *(b"Content-Type: message/feedback-report\n", b"Feedback-Type: abuse\n", b"<a@b.c>:\n", b"550 5.1.1 "),
    ]
)


@given(st.binary(max_size=400) | st.lists(pieces | st.binary(max_size=20), max_size=40).map(b"".join))
@example(b"Content-Type: message/delivery-status; charset=nobody-knows\n\nAction: failed\nStatus: \xff\n")
def test_no_bytes_do_harm(content: bytes) -> None:
    for report in reports_in(content):
        assert report.kind in CallbackKind
        assert report.reason is None or ("@" not in report.reason and report.reason.isprintable())
        assert not (report.code and not report.code.isprintable())


@given(st.sampled_from(CORPUS), st.data())
def test_no_damage_to_a_report_does_harm(content: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    for report in reports_in(content[:start] + data.draw(st.binary(max_size=9)) + content[end:]):
        assert report.reason is None or ("@" not in report.reason and report.reason.isprintable())
