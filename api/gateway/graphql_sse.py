"""GraphQL over server-sent events, in "distinct connections mode": one request, one operation, one stream.

The protocol is https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md. What is wrong with the operation is
told on the stream, because a browser shows a page nothing of a stream that was refused; docs/live-status.md has both.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson

from api.gateway import cursor
from api.gateway.event_stream import COMPLETE, next_event
from api.gateway.schema.context import Context
from api.gateway.streams import Streams
from api.gateway.subscription import Asked, NotBegun


async def frames(streams: Streams, asked: Asked, context: Context) -> AsyncGenerator[bytes, None]:
    """Each result as an event, and the end as one. An event of the status log has its cursor as `id`."""
    try:
        async with aclosing(streams.run(asked, context)) as results:
            async for result in results:
                yield next_event(result.encode(), _id(context))
    except NotBegun as refusal:
        yield next_event(orjson.dumps({"errors": [error.formatted for error in refusal.errors]}))
    yield COMPLETE


def _id(context: Context) -> str | None:
    return None if context.position is None else cursor.encode(context.position)
