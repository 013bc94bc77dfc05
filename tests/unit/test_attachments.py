"""Which attachments are accepted, and what they are called."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.attachments import (
    ANY_TYPE,
    MAX_ATTACHMENTS,
    MAX_FILENAME_BYTES,
    Attachment,
    AttachmentRef,
    attachment_problems,
    filename_of,
    filename_problem,
    served_type,
    type_problem,
    url_problem,
)
from domain.errors import Conflict
from domain.notification import Channel
from domain.submission import Submission
from tests.unit.send_fakes import BOTH, World, submission

URL = "https://files.example/invoices/2026-01.pdf"
HOSTS = frozenset({"files.internal", "127.0.0.1:9000"})


def ref(**given: Any) -> AttachmentRef:
    return AttachmentRef(**({"url": URL} | given))


def codes(*refs: AttachmentRef, channels: tuple[Channel, ...] | None = None) -> dict[str, str]:
    return {".".join(one.path): one.code for one in attachment_problems(refs, channels, HOSTS)}


@pytest.mark.parametrize(
    "url", [URL, "https://files.internal/a", "http://files.internal:8080/a", "http://127.0.0.1:9000/a?x=1"]
)
def test_a_public_https_url_or_a_host_of_ones_own_is_fine(url: str) -> None:
    assert url_problem(url, HOSTS) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/a",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://localhost/a",
        "https://127.0.0.1/a",
        "http://127.0.0.1:9001/a",
        "https://2130706433/a",
        "https://[::1]/a",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.7/a",
        "https://user:pw@files.example/a",
        "https://files.internal.evil/../a b",
        "https://other.internal/a",
        "https://files.example/\0",
        "https://files.example/" + "x" * 2048,
        "",
    ],
)
def test_every_other_url_is_refused(url: str) -> None:
    assert url_problem(url, HOSTS)


@pytest.mark.parametrize(
    "name",
    ["a.pdf", "Rechnung März.pdf", "発票.pdf", "no-extension", ".profile", "a;b=c.txt", "x" * 255],
)
def test_a_name_without_a_path_is_fine(name: str) -> None:
    assert filename_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "a/b",
        " a",
        "a ",
        "..\\b",
        'a"b',
        "a\r\nBcc: x@example.com",
        "a\0",
        "a\x7f",
        "gpj.\u202eexe",
        "ä" * 128,
        "\ud800",
    ],
)
def test_a_name_that_a_header_cannot_hold_is_refused(name: str) -> None:
    assert filename_problem(name)


@pytest.mark.parametrize("kind", ["application/pdf", "TEXT/plain", "application/vnd.ms-excel", "image/svg+xml"])
def test_a_type_and_subtype_is_fine(kind: str) -> None:
    assert type_problem(kind) is None


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "pdf",
        "/",
        "a/",
        "application/pdf; x=y",
        "text/plain\r\nBcc: a@b.c",
        "text/plain\n",
        "a b/c",
        "ä/b",
        "a/" + "b" * 200,
        "multipart/mixed",
        "message/rfc822",
        "Multipart/Related",
    ],
)
def test_any_other_type_is_refused(kind: str) -> None:
    assert type_problem(kind)
    assert served_type(kind) in (ANY_TYPE, "application/pdf", "text/plain")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (URL, "2026-01.pdf"),
        (f"{URL}?token=x#page=2", "2026-01.pdf"),
        ("https://files.example/M%C3%A4rz.pdf", "März.pdf"),
        ("https://files.example/a%2F..%2Fetc%22.pdf", "a_.._etc_.pdf"),
        ("https://files.example/a%0D%0ABcc.pdf", "a__Bcc.pdf"),
        ("https://files.example/", "attachment"),
        ("https://files.example", "attachment"),
        ("https://files.example/..", "attachment"),
        ("https://files.example/%20", "attachment"),
    ],
)
def test_without_a_name_it_is_the_urls_last_part(url: str, name: str) -> None:
    assert filename_of(url) == name


@given(st.text(max_size=400))
def test_the_urls_last_part_is_always_made_a_name(path: str) -> None:
    assert (
        filename_problem(filename_of(f"https://files.example/{path.replace('#', '').replace('?', '')}".rstrip()))
        is None
    )


def test_a_long_name_keeps_its_extension() -> None:
    name = filename_of(f"https://files.example/{'%C3%A4' * 300}.pdf")
    assert name.endswith("ä.pdf")
    assert len(name.encode()) <= MAX_FILENAME_BYTES


def test_what_is_wrong_is_named_by_its_field() -> None:
    assert codes(ref()) == {}
    assert codes(ref(), ref(url="http://x/", filename="a/b", content_type="x")) == {
        "attachments.1.url": "url",
        "attachments.1.filename": "filename",
        "attachments.1.content_type": "content_type",
    }
    assert codes(*[ref()] * MAX_ATTACHMENTS) == {}
    assert codes(*[ref()] * (MAX_ATTACHMENTS + 1)) == {"attachments": "size"}


def test_they_go_with_email_only() -> None:
    assert codes(ref(), channels=(Channel.PUSH,)) == {"attachments": "channel"}
    assert codes(ref(), channels=(Channel.PUSH, Channel.EMAIL)) == {}
    assert codes(channels=(Channel.PUSH,)) == {}


class TestAccepting:
    async def test_they_are_stored_with_a_name(self) -> None:
        order = await World().order(attachments=(ref(content_type="Application/PDF"),))
        assert order.attachments == (Attachment(url=URL, filename="2026-01.pdf", content_type="application/pdf"),)

    async def test_only_a_mail_shows_them(self) -> None:
        both = (Channel.EMAIL, Channel.PUSH)
        receipt = await World().send(to=[{"user_id": "usr_ada"}], content=BOTH, channels=both, attachments=(ref(),))
        assert {one.channel: len(one.attachments) for one in receipt.notifications} == {
            Channel.EMAIL: 1,
            Channel.PUSH: 0,
        }

    async def test_a_host_of_ones_own_must_be_allowed(self) -> None:
        assert await World().problems(attachments=(ref(url="http://127.0.0.1:9000/a"),)) == {"attachments.0.url": "url"}

    async def test_other_attachments_are_another_input(self) -> None:
        world = World()
        await world.send(attachments=(ref(),))
        assert (await world.send(attachments=(ref(),))).duplicate
        for others in ((), (ref(filename="b.pdf"),), (ref(content_type="a/b"),), (ref(), ref())):
            with pytest.raises(Conflict):
                await world.send(**({"attachments": others} if others else {}))

    def test_without_any_the_fingerprint_is_what_it_always_was(self) -> None:
        plain: Submission = submission()
        assert b"attachments" not in msgspec.json.encode(plain)
        assert plain.files == ()
