"""Our MIME writer against the standard library: its parser reads back what we wrote, and its writer says the same."""

import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone
from email import policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from email.utils import parseaddr
from typing import Any, cast

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.outgoing import OutgoingEmail
from workers.email.headers import wire_address
from workers.email.mime import build, for_data, needs_smtputf8

NOW = datetime(2025, 3, 1, 12, 30, 15, tzinfo=UTC)
MAIL = OutgoingEmail(
    to="ada@example.com",
    to_name="Ada Lovelace",
    sender="no-reply@heliograph.test",
    sender_name="Heliograph",
    subject="Welcome",
    html="<p>Hello</p>\n",
    text="Hello\n",
    message_id="<ntf_1@heliograph.test>",
    notification_id="ntf_1",
)

unbroken = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=300)
ascii_words = st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), min_size=1, max_size=40)
subjects = st.one_of(unbroken, ascii_words.map(" ".join), st.text("ä 你😀=?_", max_size=200))
bodies = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3000),
    st.text("a. =\t\n", max_size=300),
    st.integers(990, 1005).map("x".__mul__),
    st.text("你好 \n", min_size=100, max_size=500),
    st.just(".\n..\n.dots\n"),
)


def mail(**changes: Any) -> OutgoingEmail:
    return msgspec.structs.replace(MAIL, **changes)


def parsed(message: bytes) -> EmailMessage:
    return BytesParser(policy=policy.default).parsebytes(message)


def only_address(message: EmailMessage, field: str) -> Any:
    (address,) = cast(Any, message[field]).addresses
    return address


def display_name(message: bytes, field: str) -> str:
    """As RFC 2047 wants it read; the parser of `policy.default` keeps white space between encoded words (3.11)."""
    phrase, _ = parseaddr(BytesHeaderParser(policy=policy.compat32).parsebytes(message)[field])
    return str(make_header(decode_header(phrase)))


def normal(text: str) -> str:
    """Line ends and the last line's end are all that a mail may change of a text."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines if lines.endswith("\n") else lines + "\n"


def content(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return normal(part.get_content())


def assert_well_formed(message: bytes, limit: int = 998) -> None:
    assert message.endswith(b"\r\n")
    lines = message.split(b"\r\n")
    assert max(map(len, lines)) <= limit
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)


@given(subjects)
@example("=?utf-8?q?looks_encoded?=")
@example("x" * 400)
@example("two  spaces " * 20)
@example(" leading and trailing ")
@example("")
def test_a_subject_comes_back_as_it_was(subject: str) -> None:
    written = build(mail(subject=subject), NOW)
    assert str(parsed(written)["Subject"]) == subject
    assert_well_formed(written.partition(b"\r\n\r\n")[0] + b"\r\n", limit=78)


@given(st.text("aäñ你😀", min_size=1, max_size=200))
def test_every_encoded_word_stands_by_itself(subject: str) -> None:
    """RFC 2047, 5: a character is never split between words, and no word is longer than 75 characters."""
    head = build(mail(subject=subject, to_name=subject), NOW).partition(b"\r\n\r\n")[0].decode()
    words = re.findall(r"=\?utf-8\?b\?([^?]*)\?=", head)
    assert all(b64decode(word).decode() for word in words)
    assert all(len(word) <= 75 for word in re.findall(r"=\?.*?\?=", head))


@given(unbroken)
@example('quoted "name", with \\ specials')
@example("Grüße " * 30)
@example("x" * 300)
def test_a_display_name_comes_back_with_its_white_space_normalised(name: str) -> None:
    written = build(mail(to_name=name, sender_name=name), NOW)
    for field, address in (("To", MAIL.to), ("From", MAIL.sender)):
        assert display_name(written, field) == " ".join(name.split())
        assert only_address(parsed(written), field).addr_spec == address
    assert_well_formed(written.partition(b"\r\n\r\n")[0] + b"\r\n", limit=78)


@given(bodies, bodies)
def test_both_bodies_come_back(text: str, html: str) -> None:
    written = build(mail(text=text, html=html), NOW)
    message = parsed(written)
    assert_well_formed(written)
    assert not message.defects
    assert message.get_content_type() == "multipart/alternative"
    assert content(message, "plain") == normal(text)
    assert content(message, "html") == normal(html)


@pytest.mark.parametrize("kind", ["plain", "html"])
@given(body=bodies)
def test_a_single_body_comes_back(kind: str, body: str) -> None:
    written = build(mail(text=body if kind == "plain" else None, html=body if kind == "html" else None), NOW)
    message = parsed(written)
    assert_well_formed(written)
    assert message.get_content_type() == f"text/{kind}"
    assert normal(message.get_content()) == normal(body)


@given(subjects.filter(lambda subject: len(subject.splitlines()) < 2), st.text('aé .,"\\', max_size=12), bodies, bodies)
def test_it_says_what_the_standard_library_would_say(subject: str, name: str, text: str, html: str) -> None:
    ours = parsed(build(mail(to_name=name, subject=subject, text=text, html=html), NOW))
    reference = EmailMessage()
    reference["From"] = Address(MAIL.sender_name or "", addr_spec=MAIL.sender)
    reference["To"] = Address(" ".join(name.split()), addr_spec=MAIL.to)
    reference["Subject"] = subject
    reference["Date"] = NOW
    reference["Message-ID"] = MAIL.message_id
    reference.set_content(normal(text), cte="base64")
    reference.add_alternative(normal(html), subtype="html", cte="base64")
    for field in ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version"):
        assert str(ours[field]) == str(reference[field])
    assert [part.get_content_type() for part in ours.walk()] == [part.get_content_type() for part in reference.walk()]
    for kind in ("plain", "html"):
        assert content(ours, kind) == content(reference, kind)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain words\n", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("a bell \a rings", "quoted-printable"),
        ("mostly ASCII, one ü", "quoted-printable"),
        ("你好你好", "base64"),
    ],
)
def test_the_lightest_transfer_encoding_is_chosen(text: str, encoding: str) -> None:
    assert parsed(build(mail(html=None, text=text), NOW))["Content-Transfer-Encoding"] == encoding


def test_the_same_mail_gives_the_same_bytes_and_another_id_another_boundary() -> None:
    assert build(MAIL, NOW) == build(MAIL, NOW)
    other = parsed(build(mail(message_id="<ntf_2@heliograph.test>"), NOW))
    assert parsed(build(MAIL, NOW)).get_boundary() != other.get_boundary()


def test_a_body_that_quotes_the_boundary_is_not_cut_there() -> None:
    boundary = parsed(build(MAIL, NOW)).get_boundary()
    text = f"before\n--{boundary}\nafter\n--{boundary}--\n"
    message = parsed(build(mail(text=text), NOW))
    assert content(message, "plain") == text
    assert content(message, "html") == MAIL.html


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))])
def test_the_date_is_the_moment_in_its_zone(zone: timezone) -> None:
    moment = NOW.astimezone(zone)
    assert cast(Any, parsed(build(MAIL, moment))["Date"]).datetime == moment


@pytest.mark.parametrize("poison", ["\r", "\n", "\0", "\r\nBcc: victim@example.com"])
@pytest.mark.parametrize("field", ["to", "to_name", "sender", "sender_name", "subject", "message_id"])
def test_a_line_break_in_a_header_is_refused(field: str, poison: str) -> None:
    value = getattr(MAIL, field)
    with pytest.raises(ValueError, match=r"CR, LF or NUL|address"):
        build(mail(**{field: value[:2] + poison + value[2:]}), NOW)


@pytest.mark.parametrize(
    "header",
    [
        ("X-Break", "a\r\nBcc: b@example.com"),
        ("X-Break\r\nBcc", "b"),
        ("X Space", "b"),
        ("", "b"),
        ("Subject", "twice"),
        ("content-type", "text/x"),
        ("X-Long", "x" * 1000),
    ],
)
def test_an_extra_header_that_cannot_be_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        build(mail(headers=(header,)), NOW)


@pytest.mark.parametrize(
    "changes",
    [{"html": None, "text": None}, {"text": "\ud800"}, {"message_id": "no-brackets"}, {"to": "two@a.test, b@b.test"}],
)
def test_what_cannot_be_mailed_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the kind of error is the promise
        build(mail(**changes), NOW)


def test_a_date_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        build(MAIL, NOW.replace(tzinfo=None))


def test_extra_headers_come_back_and_a_long_url_stays_in_one_piece() -> None:
    url = f"<https://heliograph.test/unsubscribe/{'t' * 200}>, <mailto:leave@heliograph.test>"
    message = parsed(build(mail(headers=(("List-Unsubscribe", url), ("X-Note", "Grüße"))), NOW))
    assert message["List-Unsubscribe"] == url
    assert message["X-Note"] == "Grüße"
    assert "t" * 200 in build(mail(headers=(("List-Unsubscribe", url),)), NOW).decode()


def test_an_international_domain_goes_out_in_its_ascii_form() -> None:
    outgoing = mail(to="ada@straße.example")
    assert not needs_smtputf8(outgoing)
    assert only_address(parsed(build(outgoing, NOW)), "To").addr_spec == "ada@xn--strae-oqa.example"
    assert wire_address("ada@straße.example") == "ada@xn--strae-oqa.example"


def test_more_than_ascii_before_the_at_needs_smtputf8_and_stays_as_it_is() -> None:
    outgoing = mail(to="андрей@example.com", to_name=None)
    assert needs_smtputf8(outgoing)
    assert "To: андрей@example.com\r\n".encode() in build(outgoing, NOW)
    assert needs_smtputf8(mail(envelope_sender="bounces+ü@example.com"))


@given(bodies)
def test_for_data_doubles_leading_dots_and_ends_with_the_dot(body: str) -> None:
    message = build(mail(html=None, text=body), NOW)
    sent = for_data(message)
    assert sent.endswith(b"\r\n.\r\n")
    lines = sent.removesuffix(b".\r\n").split(b"\r\n")
    assert all(line.startswith(b"..") for line in lines if line.startswith(b"."))
    assert b"\r\n".join(line.removeprefix(b".") for line in lines) == message
    assert for_data(b".first\r\n") == b"..first\r\n.\r\n"
