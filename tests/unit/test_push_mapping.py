"""What a push becomes on its way to FCM, and what FCM's answers become on their way back."""

import json
from typing import Any

import pytest

from domain.notification import Outcome
from domain.outgoing import Answer, OutgoingPush, PushAction, PushOptions
from domain.push_payload import PayloadTooLargeError
from domain.recipient import Device
from workers.http_pool import Reply
from workers.push.fcm_answer import answer_of
from workers.push.fcm_message import MAX_TTL, encode
from workers.push.reading import QUOTA_PAUSE

NOW = 1_700_000_000.0
TOKEN = "a-device-token-0001"
RICH = PushOptions(
    image_url="https://cdn.example/parcel.png",
    click_url="https://shop.example/orders/17",
    data={"order": "17"},
    badge=0,
    sound="chime",
    collapse_key="order-17",
    ttl_seconds=3600,
    actions=(
        PushAction(id="track", title="Track", url="https://shop.example/t/17"),
        PushAction(id="hide", title="Hide"),
    ),
)


def push(options: PushOptions = RICH, *, platform: str | None = None, body: str = "On its way.") -> OutgoingPush:
    device = Device(id="dev_1", token=TOKEN, platform=platform)
    return OutgoingPush(device=device, title="Your order", body=body, options=options, notification_id="ntf_1")


def message(options: PushOptions = RICH, *, platform: str | None = None) -> dict[str, Any]:
    sent = json.loads(encode(push(options, platform=platform), NOW))
    assert list(sent) == ["message"]
    return dict(sent["message"])


def test_every_device_gets_the_text_the_image_and_the_data() -> None:
    sent = message()
    assert sent["token"] == TOKEN
    assert sent["notification"] == {"title": "Your order", "body": "On its way.", "image": RICH.image_url}
    assert sent["data"]["order"] == "17"
    assert sent["data"]["click_url"] == RICH.click_url
    assert sent["data"]["notification_id"] == "ntf_1"
    assert json.loads(sent["data"]["actions"]) == [
        {"id": "track", "title": "Track", "url": "https://shop.example/t/17"},
        {"id": "hide", "title": "Hide"},
    ]


def test_android() -> None:
    assert message()["android"] == {
        "collapse_key": "order-17",
        "ttl": "3600s",
        "notification": {"sound": "chime", "notification_count": 0, "tag": "order-17"},
    }


def test_apns() -> None:
    assert message()["apns"] == {
        "headers": {"apns-collapse-id": "order-17", "apns-expiration": str(int(NOW) + 3600)},
        "payload": {"aps": {"badge": 0, "sound": "chime", "mutable-content": 1}},
        "fcm_options": {"image": RICH.image_url},
    }


def test_web() -> None:
    assert message()["webpush"] == {
        "headers": {"TTL": "3600", "Topic": "order-17"},
        "notification": {
            "tag": "order-17",
            "actions": [{"action": "track", "title": "Track"}, {"action": "hide", "title": "Hide"}],
        },
        "fcm_options": {"link": RICH.click_url},
    }


@pytest.mark.parametrize(("platform", "part"), [("ANDROID", "android"), ("IOS", "apns"), ("WEB", "webpush")])
def test_a_known_platform_gets_its_own_part_only(platform: str, part: str) -> None:
    assert {"android", "apns", "webpush"} & set(message(platform=platform)) == {part}


def test_a_plain_push_carries_nothing_but_its_text_and_id() -> None:
    sent = message(PushOptions(), platform="ANDROID")
    assert sent["notification"] == {"title": "Your order", "body": "On its way."}
    assert sent["data"] == {"notification_id": "ntf_1"}


def test_a_ttl_of_zero_means_now_or_never() -> None:
    sent = message(PushOptions(ttl_seconds=0))
    assert sent["android"]["ttl"] == "0s"
    assert sent["apns"]["headers"]["apns-expiration"] == "0"
    assert sent["webpush"]["headers"]["TTL"] == "0"


def test_a_ttl_is_cut_to_what_fcm_takes() -> None:
    assert message(PushOptions(ttl_seconds=10 * MAX_TTL))["android"]["ttl"] == f"{MAX_TTL}s"


def test_a_link_that_fcm_would_refuse_goes_as_data_only() -> None:
    sent = message(PushOptions(click_url="app://orders/17"))
    assert sent["data"]["click_url"] == "app://orders/17"
    assert "webpush" not in sent


def test_a_collapse_key_that_a_platform_cannot_carry_is_left_out_there() -> None:
    sent = message(PushOptions(collapse_key="order 17 " * 10))
    assert sent["android"]["collapse_key"] == "order 17 " * 10
    assert "apns" not in sent
    assert sent["webpush"] == {"notification": {"tag": "order 17 " * 10}}


def test_the_caller_cannot_forge_the_notification_id() -> None:
    assert message(PushOptions(data={"notification_id": "ntf_2"}))["data"]["notification_id"] == "ntf_1"


def test_four_kilobytes_of_utf8_is_the_limit() -> None:
    bare = PushOptions()
    room = next(n for n in range(4096, 0, -1) if _fits(push(bare, body="x" * n)))
    assert room > 3900
    assert not _fits(push(bare, body="ü" * (room // 2 + 1)))
    assert _fits(push(bare, body="ü" * (room // 2)))


def _fits(outgoing: OutgoingPush) -> bool:
    try:
        encode(outgoing, NOW)
    except PayloadTooLargeError:
        return False
    return True


def test_data_that_is_no_text_is_refused_before_it_is_sent() -> None:
    broken: Any = {"order": 17}
    with pytest.raises(ValueError, match="non-string"):
        encode(push(PushOptions(data=broken)), NOW)


# ------------------------------------------------------------------------------------------------------- answers


def reply(status: int, error_code: str | None = None, *, text: str = "No.", **headers: str) -> Reply:
    kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
    details = [{"@type": "other"}, *([{"@type": kind, "errorCode": error_code}] if error_code else [])]
    error = {"code": status, "message": text, "status": "SOME_STATUS", "details": details}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, json.dumps({"error": error}).encode())


def classify(answered: Reply) -> Answer:
    return answer_of(answered, NOW, secret=TOKEN)


def test_a_message_name_is_acceptance() -> None:
    answer = classify(Reply(200, {}, b'{"name":"projects/p/messages/1"}'))
    assert answer == Answer(outcome=Outcome.ACCEPTED, provider_message_id="projects/p/messages/1")


@pytest.mark.parametrize("body", [b"{}", b'{"name":""}', b'{"name":7}', b"[]", b"", b"<html>", b"\xff"])
def test_200_without_a_name_is_unknown(body: bytes) -> None:
    assert classify(Reply(200, {}, body)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (404, "UNREGISTERED", Outcome.PERMANENT),
        (403, "SENDER_ID_MISMATCH", Outcome.PERMANENT),
        (400, "INVALID_ARGUMENT", Outcome.PERMANENT),
        (429, "QUOTA_EXCEEDED", Outcome.TRANSIENT),
        (500, "INTERNAL", Outcome.TRANSIENT),
        (503, "UNAVAILABLE", Outcome.TRANSIENT),
        (401, "THIRD_PARTY_AUTH_ERROR", Outcome.TRANSIENT),
    ],
)
def test_fcm_error_codes(status: int, code: str, outcome: Outcome) -> None:
    answer = classify(reply(status, code))
    assert (answer.outcome, answer.code) == (outcome, code)
    assert answer.retire_contact_point is (code == "UNREGISTERED")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.PERMANENT),
        (413, Outcome.PERMANENT),
        (403, Outcome.TRANSIENT),
        (404, Outcome.TRANSIENT),
        (502, Outcome.UNKNOWN),
        (504, Outcome.UNKNOWN),
    ],
)
def test_answers_without_an_fcm_code_go_by_their_status(status: int, outcome: Outcome) -> None:
    for answered in (reply(status), Reply(status, {}, b"<html>"), Reply(status, {}, b'{"error":"no"}')):
        answer = classify(answered)
        assert answer.outcome is outcome
        assert not answer.retire_contact_point


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), (" 0 ", 0.0), ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0), ("Tue, 14 Nov 2023 20:00:00 GMT", 0.0)],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float) -> None:
    assert classify(reply(503, "UNAVAILABLE", retry_after=header)).retry_after == seconds


def test_without_a_readable_retry_after_only_a_quota_has_a_pause_of_its_own() -> None:
    assert classify(reply(503, "UNAVAILABLE", retry_after="soon")).retry_after is None
    assert classify(reply(503, "UNAVAILABLE")).retry_after is None
    assert classify(reply(429, "QUOTA_EXCEEDED")).retry_after == QUOTA_PAUSE


def test_the_detail_is_short_and_never_holds_the_token() -> None:
    detail = classify(reply(400, "INVALID_ARGUMENT", text=f"The token {TOKEN} is bad. " * 100)).detail
    assert detail is not None
    assert detail.startswith("The token [token] is bad.")
    assert TOKEN not in detail
    assert len(detail) <= 300
