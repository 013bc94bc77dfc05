"""Whatever comes over HTTP, the answer is GraphQL's JSON with a status that says whose fault it was: never ours."""

import asyncio
import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import Served
from tests.fuzz.effort import effort
from tests.fuzz.test_frames import DOCUMENTS, json_values, payloads
from tests.services.gateway_fakes import KEY

STATUSES = {200, 204, 294, 400, 401, 404, 405, 406, 411, 413, 415, 422, 431, 501}
LONGEST_VALUE = 4_000
"""Of a parameter in the URL: a URL of more than 64 kB is no HTTP to the server, which says so without us."""
LONGEST_BODY = 8_000
"""A longer one may still be under way when it is refused unread; closing the connection then loses the answer."""
Header = tuple[bytes, bytes]

names = st.sampled_from(
    [
        b"Accept",
        b"Accept-Encoding",
        b"Authorization",
        b"Content-Encoding",
        b"Content-Type",
        b"Cookie",
        b"Origin",
        b"X-API-Key",
        b"X-Correlation-ID",
        b"traceparent",
        b"tracestate",
    ]
)
# Whatever may stand in a field value (RFC 9110, section 5.5): no control characters but the tab.
values = st.binary(max_size=60).map(lambda value: bytes(byte for byte in value if byte >= 32 and byte != 127))
likely = st.sampled_from(
    [
        b"application/json",
        b"application/json; charset=utf-16",
        b"application/graphql-response+json;q=nan, */*;q=-1, text/html;q=1e999",
        b"application/json;q=;q=x, ;;,,=",
        b"Bearer " + KEY.encode(),
        b"Bearer a.b.c",
        b"Basic Og==",
        b"gzip",
        b"00-" + b"f" * 32 + b"-" + b"0" * 16 + b"-01",
    ]
)
headers = st.lists(st.tuples(names, values | likely), max_size=4)
bodies = st.one_of(
    payloads.map(lambda given: json.dumps(given).encode()),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=80),
).map(lambda body: body[:LONGEST_BODY])
queries = st.lists(
    st.tuples(
        st.sampled_from([b"query", b"variables", b"operationName", b"extensions", b"documentId"]),
        st.sampled_from([text.encode() for text in DOCUMENTS])
        | st.binary(max_size=20)
        | json_values.map(lambda value: json.dumps(value).encode()[:LONGEST_VALUE]),
    ),
    max_size=4,
)


async def answered(port: int, method: bytes, query: bytes, given: Sequence[Header], body: bytes) -> tuple[int, bytes]:
    """The status and the body of the answer to a request that no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [
        method + b" /graphql" + query + b" HTTP/1.1",
        b"Host: gateway",
        b"Connection: close",
        b"Content-Length: %d" % len(body),
        *(name + b": " + value for name, value in given),
    ]
    try:
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        async with asyncio.timeout(10):
            head, _, answer = (await reader.read(-1)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1]), answer


def encoded(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Percent-encoded, byte for byte: what decodes to no text too."""
    quoted = (name + b"=" + b"".join(b"%%%02x" % byte for byte in value) for name, value in pairs)
    return b"?" + b"&".join(quoted) if pairs else b""


@effort(200)
@given(st.sampled_from([b"POST", b"GET", b"PUT", b"OPTIONS", b"HEAD"]), queries, headers, bodies)
async def test_no_request_is_taken_amiss(
    served: Served, method: bytes, query: list[Header], given: list[Header], body: bytes
) -> None:
    usual = [(b"X-API-Key", KEY.encode()), (b"Content-Type", b"application/json")]
    named = {name for name, _ in given}
    everything = [*(pair for pair in usual if pair[0] not in named), *given]
    status, answer = await answered(served.port, method, encoded(query), everything, body)
    assert status in STATUSES
    if status != 200 and answer:
        assert json.loads(answer)
    assert served.taken_amiss() == []
