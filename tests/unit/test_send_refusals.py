"""What is refused: everything wrong is named by its path, and nothing is stored."""

from datetime import timedelta
from typing import Any

import pytest

from domain.errors import UpstreamUnavailable
from domain.notification import Channel
from domain.outgoing import PushAction, PushOptions
from domain.recipient import Recipient
from domain.template import Content
from tests.unit.send_fakes import LATER, MAIL, NOW, World, template


@pytest.fixture
def world() -> World:
    return World()


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


BAD: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "unknown user": ({"to": [{"user_id": "usr_nobody"}]}, {"recipient.user_id": "not_found"}),
    "unknown users in a batch": (
        {"to": [{"user_id": "usr_x"}, {"user_id": "usr_ada"}, {"user_id": "usr_y"}]},
        {"recipients.0.recipient.user_id": "not_found", "recipients.2.recipient.user_id": "not_found"},
    ),
    "unknown template": ({"template": template(key="nothing")}, {"template.key": "not_found"}),
    "unknown version": ({"template": template(version=9)}, {"template.version": "not_found"}),
    "unpublished template": ({"template": template(key="draft")}, {"template.key": "not_published"}),
    "version 0": ({"template": template(version=0)}, {"template.version": "range"}),
    "locale that is none": ({"template": template(locale="german, please")}, {"template.locale": "locale"}),
    "locale with half a surrogate pair": ({"template": template(locale="\ud800")}, {"template.locale": "locale"}),
    "missing variables": (
        {"template": template(), "variables": {"name": "Ada"}},
        {"variables.code": "missing"},
    ),
    "missing variable of one recipient": (
        {
            "template": template(),
            "variables": {"name": "Ada"},
            "to": [{"email": "a@x.example", "variables": {"code": 1}}, {"email": "b@x.example"}],
        },
        {"recipients.1.variables.code": "missing"},
    ),
    "missing variable in push data": (
        {"template": template(), "to": [{"user_id": "usr_ada"}], "variables": {"name": "Ada", "code": 7}},
        {"variables.link.path": "missing"},
    ),
    "missing variable in content": (
        {"content": Content(subject="Hi {{ name }}", text="-")},
        {"variables.name": "missing"},
    ),
    "content that is no Liquid": ({"content": Content(subject="Hi {% if %}", text="-")}, {"content": "syntax"}),
    "bad address": ({"to": [{"email": "not an address"}]}, {"recipient.email": "email"}),
    "half a surrogate pair in an address": ({"to": [{"email": "a\ud800@x.example"}]}, {"recipient.email": "email"}),
    "bad address in a batch": (
        {"to": [{"email": "a@x.example"}, {"email": "a@x.example\r\nBcc: b@x.example"}]},
        {"recipients.1.recipient.email": "email"},
    ),
    "bad device token": ({"to": [{"device_token": "no"}]}, {"recipient.device_token": "device_token"}),
    "no recipient": ({"to": []}, {"recipients": "size"}),
    "1,001 recipients": ({"to": [{"email": "a@x.example"}] * 1001}, {"recipients": "size"}),
    "recipient by nothing": ({"to": [{}]}, {"recipient": "one_of"}),
    "recipient by two": ({"to": [{"user_id": "usr_ada", "email": "a@x.example"}]}, {"recipient": "one_of"}),
    "recipient by three": (
        {"to": [{"user_id": "usr_ada", "email": "a@x.example", "device_token": "token-12345"}]},
        {"recipient": "one_of"},
    ),
    "empty user id": ({"to": [{"user_id": " "}]}, {"recipient.user_id": "empty"}),
    "template and content": ({"template": template(), "content": MAIL}, {"template": "one_of"}),
    "neither template nor content": ({"template": None, "content": None}, {"template": "one_of"}),
    "CR in a subject": ({"content": Content(subject="a\rb", text="-")}, {"content.subject": "line_break"}),
    "LF in a subject": (
        {"content": Content(subject="a\nBcc: b@x.example", text="-")},
        {"content.subject": "line_break"},
    ),
    "LF in a title": ({"content": Content(title="a\nb")}, {"content.title": "line_break"}),
    "NUL in a text": ({"content": Content(subject="a", text="b\0")}, {"content.text": "characters"}),
    "half a surrogate pair in html": ({"content": Content(subject="a", html="\ud83d")}, {"content.html": "characters"}),
    "empty subject": ({"content": Content(subject="", text="-")}, {"content.subject": "empty"}),
    "subject of 999 characters": ({"content": Content(subject="a" * 999, text="-")}, {"content.subject": "size"}),
    "text of 512 kB and one": (
        {"content": Content(subject="a", text="b" * (512 * 1024 + 1))},
        {"content.text": "size"},
    ),
    "no body for the channel": ({"channels": (Channel.PUSH,)}, {"content": "body"}),
    "no body for one locale": (
        {"template": template(), "to": [{"user_id": "usr_bob"}], "channels": (Channel.PUSH,)},
        {"template": "body"},
    ),
    "no body for any channel": ({"content": Content(subject="only a subject")}, {"content": "body"}),
    "duplicate channels": ({"channels": (Channel.EMAIL, Channel.EMAIL)}, {"channels": "unique"}),
    "no channels": ({"channels": ()}, {"channels": "size"}),
    "send_at in the past": ({"send_at": NOW - timedelta(minutes=1)}, {"send_at": "past"}),
    "send_at without a zone": ({"send_at": LATER.replace(tzinfo=None)}, {"send_at": "time_zone"}),
    "send_at in two years": ({"send_at": NOW + timedelta(days=730)}, {"send_at": "range"}),
    "deliver_by in the past": ({"deliver_by": NOW - timedelta(minutes=1)}, {"deliver_by": "past"}),
    "deliver_by before send_at": (
        {"send_at": LATER, "deliver_by": LATER - timedelta(minutes=1)},
        {"deliver_by": "order"},
    ),
    "deliver_by with send_at": ({"send_at": LATER, "deliver_by": LATER}, {"deliver_by": "order"}),
    "variables of 64 kB": ({"variables": {"a": "b" * 64 * 1024}}, {"variables": "size"}),
    "a recipient's variables of 64 kB": (
        {"to": [{"email": "a@x.example", "variables": {"a": "b" * 64 * 1024}}]},
        {"variables": "size"},
    ),
    "NUL in variables": ({"variables": {"a": {"b": ["\0"]}}}, {"variables": "characters"}),
    "NUL in the name of a variable": ({"variables": {"a\0": 1}}, {"variables": "characters"}),
    "half a surrogate pair in variables": ({"variables": {"a": "\udc00"}}, {"variables": "characters"}),
    "variables nested too deeply to check": ({"variables": {"a": nested(450)}}, {"variables": "characters"}),
    "variables nested too deeply to encode": ({"variables": {"a": nested(100_000)}}, {"variables": "characters"}),
    "metadata of 16 kB": ({"metadata": "b" * 16 * 1024}, {"metadata": "size"}),
    "NUL in the request id": ({"request_id": "a\0"}, {"request_id": "characters"}),
    "request id of 201 characters": ({"request_id": "a" * 201}, {"request_id": "size"}),
    "empty category": ({"category": ""}, {"category": "empty"}),
    "link that is none": ({"push": PushOptions(click_url="javascript:alert(1)")}, {"push.click_url": "url"}),
    "link with credentials": (
        {"push": PushOptions(click_url="https://ada:secret@shop.example/")},
        {"push.click_url": "url"},
    ),
    "image in a private network": ({"push": PushOptions(image_url="http://10.0.0.1/x.png")}, {"push.image_url": "url"}),
    "image at a number": ({"push": PushOptions(image_url="http://2130706433/x.png")}, {"push.image_url": "url"}),
    "image as data": ({"push": PushOptions(image_url="data:image/png;base64,AA==")}, {"push.image_url": "url"}),
    "NUL in an image's URL": (
        {"push": PushOptions(image_url="https://x.example/\0")},
        {"push.image_url": "characters"},
    ),
    "image URL of 2,049 characters": (
        {"push": PushOptions(image_url="https://x.example/" + "a" * 2031)},
        {"push.image_url": "size"},
    ),
    "button that opens a script": (
        {"push": PushOptions(actions=(PushAction(id="a", title="A", url="javascript:x"),))},
        {"push.actions.0.url": "url"},
    ),
    "push data and buttons of 4 kB together": (
        {"push": PushOptions(data={"a": "b" * 2500}, actions=(PushAction(id="a", title="t" * 1800),))},
        {"push": "size"},
    ),
    "a push of 4 kB": (
        {"to": [{"device_token": "a-device-token"}], "content": Content(title="Hello", body="b" * 4096)},
        {"content": "size"},
    ),
    "a push of 4 kB, in bytes": (
        {"to": [{"device_token": "a-device-token"}], "content": Content(title="Hello", body="ö" * 2048)},
        {"content": "size"},
    ),
    "a push of 4 kB once it is rendered": (
        {
            "to": [{"device_token": "a-device-token"}],
            "content": Content(title="Hello", body="{{ a }}{{ a }}"),
            "variables": {"a": "b" * 2048},
        },
        {"content": "size"},
    ),
    "a push of 4 kB for one of many": (
        {
            "to": [{"device_token": "a-device-token", "variables": {"a": "b" * size}} for size in (1, 4096)],
            "content": Content(title="Hello", body="{{ a }}"),
        },
        {"recipients.1.variables": "size"},
    ),
    "time to live of a month": ({"push": PushOptions(ttl_seconds=31 * 24 * 3600)}, {"push.ttl_seconds": "range"}),
    "negative badge": ({"push": PushOptions(badge=-1)}, {"push.badge": "range"}),
    "push data of 4 kB": ({"push": PushOptions(data={"a": "b" * 4096})}, {"push.data": "size"}),
    "half a surrogate pair in a sound": ({"push": PushOptions(sound="\ud800")}, {"push.sound": "characters"}),
    "NUL in a collapse key": ({"push": PushOptions(collapse_key="\0")}, {"push.collapse_key": "characters"}),
    "half a surrogate pair in a button": (
        {"push": PushOptions(actions=(PushAction(id="a", title="\ud800"),))},
        {"push.actions": "characters"},
    ),
    "several at once": (
        {"to": [{"email": "x"}], "category": "", "channels": (), "send_at": NOW - timedelta(days=1)},
        {"recipient.email": "email", "category": "empty", "channels": "size", "send_at": "past"},
    ),
}


class TestRefusals:
    @pytest.mark.parametrize("case", BAD)
    async def test_what_is_wrong_is_named_and_nothing_is_stored(self, world: World, case: str) -> None:
        given, expected = BAD[case]
        assert await world.problems(**given) == expected

    async def test_the_good_example_is_good(self, world: World) -> None:
        assert (await world.send()).accepted == 1

    async def test_a_thousand_recipients_are_looked_up_at_once(self, world: World) -> None:
        to = [{"user_id": f"usr_{number}"} for number in range(1000)]
        world.recipients.users = {one["user_id"]: Recipient(user_id=one["user_id"], email="a@b.example") for one in to}
        receipt = await world.send(to=to)
        assert (receipt.accepted, len(receipt.notifications)) == (1000, 100)
        assert world.recipients.calls == [sorted(one["user_id"] for one in to)]

    async def test_no_more_problems_are_told_than_anybody_reads(self, world: World) -> None:
        to = [{"email": "a@x.example"}] * 1000
        problems = await world.problems(to=to, template=template())
        assert len(problems) == 100

    async def test_a_user_service_that_is_away_is_said_so(self, world: World) -> None:
        world.recipients.away = True
        with pytest.raises(UpstreamUnavailable):
            await world.send(to=[{"user_id": "usr_ada"}])
        assert world.requests.orders == {}

    async def test_nobody_is_asked_about_a_contact_point_that_the_caller_gave(self, world: World) -> None:
        world.recipients.away = True
        assert (await world.send(to=[{"email": "ada@example.com"}])).accepted == 1
