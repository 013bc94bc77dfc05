"""What somebody who wishes us ill might send: documents, variables, bodies, headers and frames, none above 20 kB.

Each stands for a way to make a little text cost much: by its length, depth or number, by comparing all with all, or by
what the answer says about it. `python -m bench.hostile` measures them, the tests assert how they are refused.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

SIZE = 20_000
SEND = "mutation ($input: SendNotificationInput!) { send_notification(input: $input) { success error { code } } }"
BATCH = "mutation ($input: SendBatchInput!) { send_batch(input: $input) { success error { code } } }"
FILTER = "query ($f: NotificationFilter) { notifications(filter: $f) { success } }"


def many(piece: str, *, count: int = SIZE, size: int = SIZE - 200) -> str:
    """A piece over and over, `%d` in it counting up: `count` times, as far as `size` characters go."""
    made: list[str] = []
    length = 0
    for number in range(count):
        made.append(piece.replace("%d", str(number)))
        length += len(made[-1])
        if length > size:
            return "".join(made[:-1])
    return "".join(made)


def nested(opening: str, closing: str, inner: str = "", count: int = 200) -> str:
    """Something within itself."""
    return opening * count + inner + closing * count


TYPES = ("Notification", "Request", "User", "Device", "Template")

DOCUMENTS = {
    # long
    "one name": "{ " + "a" * 19_000 + " }",
    "a comment": "#" + "x" * 19_000 + "\n{ __typename }",
    "comments": "#\n" * 9_000 + "{ __typename }",
    "commas": "," * 19_000 + "{ __typename }",
    "byte order marks": "\ufeff" * 6_000 + "{ __typename }",
    "a string": '{ user(id: "' + "x" * 19_000 + '") { success } }',
    "a string of escapes": '{ user(id: "' + "\\u0041" * 3_000 + '") { success } }',
    "a block string": '{ user(id: """' + "\n   x" * 3_900 + '""") { success } }',
    "an empty block string": '{ user(id: """' + "\n" * 19_000 + '""") { success } }',
    "an integer": "{ notifications(limit: " + "9" * 19_000 + ") { success } }",
    "a float": "{ notifications(limit: 1." + "9" * 19_000 + "e99) { success } }",
    "not a name": "{ " + "é" * 9_000 + " }",
    "not even text": "\x00\x07\ud7ff\U0001f600" * 1_000,
    # many
    "fields": "{" + " __typename" * 1_600 + " }",
    "short fields": "{" + many(" a%d", count=950) + " }",
    "unknown fields": "{" + many(" notificationz%d", count=950) + " }",
    "long unknown fields": "{" + many(" notifications_connectionz_%d", count=600) + " }",
    "aliases": "{" + many(" a%d: __typename", count=900) + " }",
    "directives": "{ __typename" + " @skip(if: true)" * 300 + " }",
    "unknown directives": "{ __typename" + many(" @skipp%d", count=900) + " }",
    "operations": many("query q%d { __typename } ", count=390),
    "anonymous operations": many("{ a } ", count=600),
    "fragments": "{ __typename }" + many(" fragment f%d on Query { __typename }", count=240),
    "unknown fragments": "{" + many(" ...f%d", count=900) + " }",
    "unknown types": "{" + many(" ... on Notificatio%d { id }", count=300) + " }",
    "variables": "query (" + many("$v%d: Int ", count=480) + ") { __typename }",
    "variables of unknown types": "query (" + many("$v%d: Notificatio%d ", count=480) + ") { __typename }",
    "one variable again and again": "query (" + "$v: Int " * 480 + ") { __typename }",
    "default values": "query (" + many("$v%d: [Int] = [1, 2, 3] ", count=180) + ") { __typename }",
    "unknown arguments": "{ user(" + many("idd%d: 1 ", count=600) + ") { success } }",
    "one argument again and again": "{ user(" + "id: 1 " * 600 + ") { success } }",
    "unknown input fields": "{ users(filter: {" + many("emaill%d: 1 ", count=600) + "}) { success } }",
    "one input field again and again": "{ users(filter: {" + "email: 1 " * 600 + "}) { success } }",
    "values of an enumeration": "{ notifications(filter: {status: ["
    + many(" SENDIN%d", count=1_900)
    + "]}) { success } }",
    "mutations": "mutation {" + many(' a%d: remove_device(id: "x") { success }') + " }",
    "subscriptions": "subscription {" + many(" a%d: status_feed { cursor }", count=300) + " }",
    "definitions of types": "type X {" + many(" a%d: Int", count=600) + " }",
    # deep
    "selections": "{ " + nested("a {", "}", "a", 900) + " }",
    "inline fragments": "{ " + nested("... {", "}", "__typename", 180) + " }",
    "lists": "{ user(id: " + nested("[", "]", count=190) + ") { success } }",
    "objects": "{ users(filter: " + nested("{a: ", "}", "1", 190) + ") { success } }",
    "types of variables": "query ($v: " + nested("[", "]", "Int", 190) + ") { __typename }",
    "a path through the schema": "{ notifications { data { "
    + nested("timeline { notification { ", "} }", "id", 40)
    + " } } }",
    "a chain of fragments": "{ ...F0 } "
    + "".join(f"fragment F{n} on Query {{ ...F{n + 1} }} " for n in range(48))
    + "fragment F48 on Query { __typename }",
    "introspection": "{ __schema { types { fields " + nested("{ type { fields ", "} }", "{ name }", 8) + " } } }",
    # all with all
    "fields that are the same": "{" + " user(id: 1) { success }" * 180 + " }",
    "fields that conflict": "{" + many(" user(id: %d) { success }", count=180) + " }",
    "aliases that conflict": "{" + many(" x: user(id: %d) { data { id } }", count=29) + " }",
    "selections that are the same": "{ user(id: 1) {" + " data { devices { id } }" * 240 + " } }",
    "fragments that are the same": "{" + many(" ...F%d", count=45) + " }"
    + many(" fragment F%d on Query { user(id: 1) { success message error { message code } data { id } } }", count=45),
    "one fragment again and again": "{"
    + " ...F" * 9
    + " } fragment F on Query {"
    + " user(id: 1) { success }" * 100
    + " }",
    "fragments that double": "{ ...F0 } "
    + "".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }} " for n in range(48))
    + "fragment F48 on Query { __typename }",
    "fragments that spread each other": "{" + many(" ...F%d", count=30) + " }"
    + "".join(f" fragment F{n} on Query {{{many(' ...F%d', count=15)} __typename }}" for n in range(30)),
    "a circle of fragments": "{ ...F0 } "
    + "".join(f"fragment F{n} on Query {{ ...F{(n + 1) % 49} __typename }} " for n in range(49)),
    "fragments on many types": "{ node(id: 1) {"
    + "".join(f" ... on {name} {{ id created_at }}" for name in TYPES * 30)
    + " } }",
    # cost
    "pages in pages": "{ notifications(limit: 100) { data { "
    + nested("timeline { notification { ", "} }", "id", 3)
    + " } } }",
    "ends with a mistake": "{" + " a" * 1_980 + " (",
}  # fmt: skip
"""By what there is too much of."""


_LATER = (datetime.now(UTC) + timedelta(days=300)).isoformat()
"""Not sent while it is measured."""


_SCALARS = (
    "id request_id status reason sequence channel category priority provider created_at updated_at correlation_id"
)
READS = {
    "a page with timelines": "{ notifications(limit: 100) { data { "
    + _SCALARS
    + " timeline { cursor position status reason occurred_at } } } }",
    "pages side by side": "{" + many(" a%d: notifications(limit: 100) { data { " + _SCALARS + " } }", count=5) + " }",
    "a page of everything": "{ notifications(limit: 30) { data { "
    + _SCALARS
    + " recipient { email device_count } attempts { number provider } timeline { cursor sequence notification { "
    + _SCALARS
    + " } } } } }",
}
"""What is right, and costs nearly as much as a document may."""
FILLING = {
    "input": {
        "recipients": [{"recipient": {"email": "a@b.io"}}] * 300,
        "content": {"subject": "Hi", "text": "Hello"},
        "send_at": _LATER,
    }
}
"""With `BATCH`, something to read."""


def _content(**texts: str) -> dict[str, Any]:
    return {"input": {"recipient": {"email": "ada@example.com"}, "content": texts, "send_at": _LATER}}


def _recipients(count: int, **shared: Any) -> dict[str, Any]:
    return {"input": {"recipients": [{"recipient": {"email": "a@b.io"}}] * count, "send_at": _LATER, **shared}}


_HI = {"subject": "Hi", "text": "Hello"}

VARIABLES: dict[str, tuple[str, Any]] = {
    "fields that nobody knows": (SEND, {"input": {f"recipien{n}": 1 for n in range(1_000)}}),
    "values that do not fit": (FILTER, {"f": {"status": ["SENTT"] * 1_900}}),
    "numbers that are none": (FILTER, {"f": {"status": list(range(3_000))}}),
    "variables that nobody declared": (FILTER, {f"v{n}": 1 for n in range(1_500)}),
    "deep metadata": (SEND, {"input": {"recipient": {"email": "a@b.io"}, "content": _HI, "metadata": "@deep"}}),
    "wide metadata": (
        SEND,
        {"input": {"recipient": {"email": "a@b.io"}, "content": _HI, "metadata": {f"k{n}": n for n in range(1_200)}}},
    ),
    "recipients": (BATCH, _recipients(470, content=_HI)),
    "recipients that are wrong": (BATCH, {"input": {"recipients": [{"recipient": {}}] * 900, "content": _HI}}),
    "recipients of two kinds": (
        BATCH,
        {"input": {"recipients": [{"recipient": {"email": "a", "user_id": "b"}}] * 380, "content": _HI}},
    ),
    "recipients without an address": (
        BATCH,
        {"input": {"recipients": [{"recipient": {"email": "a"}}] * 500, "content": _HI}},
    ),
    "outputs": (SEND, _content(subject="s", text="@fresh" + many("{{a%d}}", size=16_000))),
    "outputs in each text": (
        SEND,
        _content(
            subject=many("{{a}}", size=990),
            title=many("{{b}}", size=990),
            **{name: "@fresh" + many("{{a" + name[0] + "%d}}", size=5_500) for name in ("html", "text", "body")},
        ),
    ),
    "filters": (SEND, _content(subject="s", text="@fresh" + many("{{ a | append: 'x' | upcase }}", size=16_000))),
    "conditions": (SEND, _content(subject="s", text="@fresh" + many("{% if a == 1 or b %}x{% endif %}", size=16_000))),
    "a mistake at the end": (SEND, _content(subject="s", text="@fresh" + many("{{a%d}}", size=16_000) + "{% if %}")),
    "braces": (SEND, _content(subject="s", text="{" * 19_000)),
    "outputs to many": (
        BATCH,
        _recipients(250, content={"subject": "s", "text": "@fresh" + many("{{a%d}}", size=6_500)}, variables={
            f"a{n}": 1 for n in range(400)}),
    ),
}  # fmt: skip
"""A document and its variables; a value `"@deep"` is a list within itself, 900 times; `@fresh` makes
another text of a content that would be remembered."""

HEADERS: dict[str, list[tuple[bytes, bytes]]] = {
    "an accept of many": [(b"Accept", b"a/b;q=0.1," * 1_500)],
    "an accept of parameters": [(b"Accept", b"application/json" + b";q=1" * 4_000)],
    "a quality that is none": [(b"Accept", b"application/json;q=" + b"9" * 15_000)],
    "qualities that are no numbers": [(b"Accept", b"application/json;q=nan, application/json;q=-inf;q=1e999")],
    "a long key": [(b"Authorization", b"Bearer " + b"x" * 15_000)],
    "a token of dots": [(b"Authorization", b"Bearer " + b"." * 15_000)],
    "a token that is none": [(b"Authorization", b"Bearer " + b"eyJhbGciOiJIUzI1NiJ9." * 700)],
    "strange bytes in the key": [(b"Authorization", b"Bearer \xff\xfe\x80")],
    "strange bytes in the type": [(b"Content-Type", b"application/json; charset=\xff\xfe")],
    "a long correlation id": [(b"X-Correlation-ID", b"a" * 15_000)],
    "strange bytes in the correlation id": [(b"X-Correlation-ID", b"\xe9\xff\x80")],
    "a long trace": [(b"traceparent", b"00-" + b"f" * 15_000)],
    "many headers": [(f"X-{number}".encode(), b"y") for number in range(1_000)],
    "many cookies": [(b"Cookie", b"a=b; " * 3_000)],
    "a length that is none": [(b"X-Content-Length", b"-1")],
}
"""By what is strange about them."""

BODIES: dict[str, bytes] = {
    "brackets": b"[" * 19_000,
    "braces": b'{"a":' * 3_500,
    "one long number": b"9" * 19_000,
    "one long fraction": b"0." + b"9" * 19_000,
    "a number of great size": b'{"query": "{ __typename }", "variables": {"a": 1e99999}}',
    "keys": json.dumps({f"k{number}": number for number in range(1_400)}).encode(),
    "one key again and again": b"{" + b'"query":"{a}",' * 1_300 + b'"query":"{__typename}"}',
    "bytes": bytes(range(256)) * 70,
    "half a pair": b'{"query": "{ __typename }", "operationName": "\\ud800"}',
}
"""Bodies of a POST that says it is JSON."""


def subscribe(query: str, variables: Any = None, number: int = 0) -> str:
    """The message that begins an operation."""
    return text_of({"id": "1", "type": "subscribe", "payload": {"query": query, "variables": variables}}, number)


FRAMES: dict[str, str] = {
    "brackets": "[" * 19_000,
    "an unknown type": json.dumps({"type": "x" * 19_000}),
    "a type of strange letters": json.dumps({"type": "é\u2028😀" * 1_900}, ensure_ascii=False),
    "a long id": json.dumps({"type": "subscribe", "id": "x" * 19_000, "payload": {"query": "{ __typename }"}}),
    "a type that is no text": json.dumps({"type": {"type": "subscribe"}}),
    "a payload that is no object": json.dumps({"type": "ping", "payload": 5}),
    "keys": json.dumps({"type": "ping"} | {f"k{number}": number for number in range(1_400)}),
}
"""Messages on a socket that was greeted."""


def text_of(value: Any, number: int = 0) -> str:
    """JSON, with `"@deep"` unfolded (the standard library would not go so deep) and `@fresh` made the number."""
    return json.dumps(value).replace('"@deep"', "[" * 900 + "]" * 900).replace("@fresh", str(number))


def fresh(query: str, number: int) -> str:
    """The same document as another text, so that nothing is remembered of it."""
    return f"{query} #{number}"
