"""Mails with files: the standard library reads back what we wrote, and would have written the same."""

from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.attachments import filename_problem
from domain.outgoing import File, OutgoingEmail
from tests.contracts.smtp_servers import file, mail
from workers.email.mime import build, for_data, pieces
from workers.email.mime_files import base64_lines

NOW = datetime(2025, 3, 1, 12, 30, 15, tzinfo=UTC)

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=90).filter(
    lambda name: filename_problem(name) is None
)
types = st.sampled_from(["application/pdf", "text/csv", "image/svg+xml", "application/octet-stream"])
contents = st.one_of(st.binary(max_size=400), st.just(b"\r\n.\r\n--=_\r\n"), st.integers(0, 3).map(lambda n: b"x" * n))
files = st.lists(st.tuples(names, types, contents), min_size=1, max_size=4)


def letter(*attached: File, **changes: object) -> OutgoingEmail:
    return msgspec.structs.replace(mail(), files=attached, **changes)


def parsed(message: bytes) -> EmailMessage:
    return BytesParser(policy=policy.default).parsebytes(message)


def read(message: EmailMessage) -> list[tuple[str | None, str, object]]:
    parts = message.iter_attachments()
    return [(part.get_filename(), part.get_content_type(), part.get_payload(decode=True)) for part in parts]


@given(files)
@example([("a  b.pdf", "application/pdf", b"")])
@example([("=?utf-8?q?no?=", "application/pdf", b"x")])
@example([("100%25'' *0*=.pdf", "application/pdf", b"x")])
@example([("ä" * 127, "application/pdf", b"x")])
@example([("x" * 255, "application/pdf", b"x")])
def test_files_come_back_as_they_were(given_files: list[tuple[str, str, bytes]]) -> None:
    written = build(letter(*(file(name, content, kind) for name, kind, content in given_files)), NOW)
    message = parsed(written)
    assert not message.defects
    assert message.get_content_type() == "multipart/mixed"
    assert [(name, kind, content) for name, kind, content in read(message)] == given_files
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == mail().text


@given(files)
def test_no_line_is_longer_than_it_should_be(given_files: list[tuple[str, str, bytes]]) -> None:
    written = build(letter(*(file(name, content, kind) for name, kind, content in given_files)), NOW)
    lines = written.split(b"\r\n")
    assert max(map(len, lines)) <= 78
    assert written.endswith(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert written.isascii()


@pytest.mark.parametrize("without", [None, "text", "html"])
def test_it_is_built_as_the_standard_library_would_build_it(without: str | None) -> None:
    attached = file("März.pdf", b"%PDF" * 100)
    ours = parsed(build(letter(attached, **({without: None} if without else {})), NOW))
    reference = EmailMessage()
    reference.set_content("x") if without != "text" else reference.set_content("x", subtype="html")
    if without is None:
        reference.add_alternative("x", subtype="html")
    reference.add_attachment(attached.content, maintype="application", subtype="pdf", filename=attached.filename)
    assert [part.get_content_type() for part in ours.walk()] == [part.get_content_type() for part in reference.walk()]
    assert read(ours) == read(reference)


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 57 * 256 - 1, 57 * 256, 57 * 256 + 1, 200_000])
def test_base64_has_lines_of_76_in_pieces_of_whole_lines(size: int) -> None:
    content = bytes(number % 256 for number in range(size))
    lines = tuple(base64_lines(content))
    assert all(piece.endswith(b"\r\n") and len(piece) <= 20_000 for piece in lines)
    whole = b"".join(lines).split(b"\r\n")
    assert all(len(line) == 76 for line in whole[:-2])
    (part,) = parsed(build(letter(file("a.bin", content)), NOW)).iter_attachments()
    assert part.get_payload(decode=True) == content


def test_pieces_are_whole_lines_and_make_the_mail() -> None:
    outgoing = letter(file("a.bin", b"x" * 200_000), file("b.bin"))
    parts = pieces(outgoing, NOW)
    assert b"".join(parts) == build(outgoing, NOW)
    assert len(parts) > 4
    assert all(part.endswith(b"\r\n") for part in parts)
    assert for_data(*parts) == for_data(build(outgoing, NOW))


def test_a_text_that_quotes_the_boundary_is_not_cut_there() -> None:
    boundary = parsed(build(letter(file("a.pdf")), NOW)).get_boundary()
    text = f"before\n--{boundary}\nafter\n--{boundary}--\n"
    message = parsed(build(letter(file("a.pdf"), text=text), NOW))
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == text
    assert len(read(message)) == 1


@pytest.mark.parametrize("kind", ["text/plain; x=y", "text/plain\r\nBcc: a@b.c", "multipart/mixed", "x"])
def test_a_type_that_is_none_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="type"):
        build(letter(file("a", content_type=kind)), NOW)


@pytest.mark.parametrize("name", ['a"\r\nBcc: x@example.com', "a\r\n\r\nbody", "a\0"])
def test_no_name_can_begin_another_header(name: str) -> None:
    written = build(letter(file(name)), NOW)
    assert not any(line.startswith((b"Bcc", b"body")) for line in written.split(b"\r\n"))
    assert len(read(parsed(written))) == 1
