"""What is masked in a log as a last resort, and what must stay to be found."""

import pytest

from domain.telemetry import mask, masked

FCM_TOKEN = "fMnX1abcd9abcdefghijkl:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx_abcdefgh"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("550 5.1.1 <ada@example.com>: no such user", "550 5.1.1 <a***@example.com>: no such user"),
        ("Key (email)=(ada+x@example.com) already exists", "Key (email)=(a***@example.com) already exists"),
        ('to "ada lovelace"@example.com', 'to "***@example.com'),
        ("an address of ada@bücher.example.", "an address of a***@bücher.example."),
        ("amqp://guest:hunter2@127.0.0.1:5672/", "amqp://guest:h***@127.0.0.1:5672/"),
        ("the key hg_9f3c1b7de24a60588c1d4e7fa3b2d9e1 is unknown", "the key hg_9*** is unknown"),
        ("Authorization: Bearer abcdef", "Authorization: Bearer ***"),
        ("a token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c3IifQ.c2lnbmF0dXJl", "a token eyJh***"),
        (f"the device {FCM_TOKEN}", "the device fMnX***"),
        (f"the device {'0a' * 32} is gone", "the device 0a0a*** is gone"),
    ],
)
def test_addresses_and_tokens_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ignored QUEUED of ntf_01a21cf2f6b97eb381bc109a2046ba71: it is claimed already",
        "correlation id 0f8fad5b-d9cd-469f-a165-70867728950e",
        'File "/srv/heliograph/workers/email/smtp_connection.py", line 101, in a_function_with_a_rather_long_name',
        "451 4.7.1 Greylisted: come back later",
    ],
)
def test_ids_and_ordinary_texts_stay(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("part", ["a", "@", "a1-", "a@", "x:", '"'])
def test_a_long_text_takes_no_long_time(part: str) -> None:
    masked(part * 100_000)  # what takes the square of its length would run into the time limit of the tests


def test_a_mask_is_enough_to_recognise_and_not_enough_to_use() -> None:
    assert mask("ada@example.com") == "a***@example.com"
    assert mask(FCM_TOKEN) == "fMnX***"
    assert mask("short") == "***"
