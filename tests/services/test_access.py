"""Who may do what: every root field of the schema, asked for by everybody, as the table of `docs/access.md` says."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.gateway import cursor
from api.gateway.schema import build_schema
from api.security import ALL_SCOPES, Kind, Principal, Scope
from api.server import Server
from domain.ids import API_KEY, new_id
from domain.notification import Channel
from tests.services.gateway_fakes import Gateway, running_gateway
from tests.services.socket_client import opened

PAGE = Path(__file__).parents[2] / "docs" / "access.md"
SEEN = "{ success error { code } }"
BODY = '{locales: [{locale: "en", subject: "Hi", text: "Hello"}]}'
CONTENT = 'content: {subject: "Hi", text: "Hello"}'

OPERATIONS = {
    "notification": f'notification(id: "<notification>") {SEEN}',
    "notifications": f'notifications(filter: {{user_id: "<user>"}}) {SEEN}',
    "notifications_connection": 'notifications_connection(filter: {user_id: "<user>"}) { nodes { id } }',
    "request": f'request(request_id: "<request>") {SEEN}',
    "user": f'user(id: "<user>") {SEEN}',
    "users": f"users {SEEN}",
    "users_connection": "users_connection { nodes { id } }",
    "template": f'template(key: "<template>") {SEEN}',
    "templates": f"templates {SEEN}",
    "preview_template": f'preview_template(input: {{template: {{key: "<template>"}}}}) {SEEN}',
    "suppressions": f"suppressions {SEEN}",
    "dead_letters": f"dead_letters {SEEN}",
    "system": f"system {SEEN}",
    "api_keys": f"api_keys {SEEN}",
    "node": 'node(id: "<notification>") { id }',
    "send_notification": f'send_notification(input: {{recipient: {{user_id: "<user>"}}, {CONTENT}}}) {SEEN}',
    "send_batch": f'send_batch(input: {{recipients: [{{recipient: {{user_id: "<user>"}}}}], {CONTENT}}}) {SEEN}',
    "cancel_notification": f'cancel_notification(id: "<notification>") {SEEN}',
    "acknowledge_notification": f'acknowledge_notification(id: "<notification>") {SEEN}',
    "create_user": f'create_user(input: {{email: "new@example.com"}}) {SEEN}',
    "update_user": f'update_user(id: "<user>", input: {{name: "New"}}) {SEEN}',
    "delete_user": f'delete_user(id: "<user>") {SEEN}',
    "set_preferences": f'set_preferences(user_id: "<user>", input: {{channels: []}}) {SEEN}',
    "register_device": f'register_device(user_id: "<user>", input: {{platform: WEB, token: "token-token"}}) {SEEN}',
    "remove_device": f'remove_device(id: "<device>") {SEEN}',
    "create_template": f'create_template(input: {{key: "<new>"}}) {SEEN}',
    "create_template_version": f'create_template_version(key: "<template>", input: {BODY}) {SEEN}',
    "publish_template_version": f'publish_template_version(key: "<template>", version: 1) {SEEN}',
    "delete_template": f'delete_template(key: "<template>") {SEEN}',
    "add_suppression": f'add_suppression(input: {{channel: EMAIL, contact_point: "x@example.com"}}) {SEEN}',
    "lift_suppression": f'lift_suppression(id: "<suppression>") {SEEN}',
    "replay_dead_letters": f'replay_dead_letters(ids: ["<letter>"]) {SEEN}',
    "replay_dead_letters_where": f"replay_dead_letters_where(filter: {{channel: PUSH}}) {SEEN}",
    "create_api_key": f'create_api_key(input: {{name: "New", scopes: ["operations"]}}) {SEEN}',
    "revoke_api_key": f'revoke_api_key(id: "<key>") {SEEN}',
    "notification_status": 'notification_status(id: "<notification>") { sequence }',
    "request_status": 'request_status(request_id: "<request>") { sequence }',
    "request_progress": 'request_progress(request_id: "<request>") { total }',
    "system_status": "system_status { queues { name } }",
    "status_feed": 'status_feed(after: "<start>", filter: {user_id: "<user>"}) { sequence }',
}
"""One operation for each root field, about one user and what is theirs."""
CALLERS = ("without credentials", "without the scope", "end user: another's", "end user: their own", "with the scope")


def written() -> dict[str, dict[str, str]]:
    """The table of the page: what becomes of each caller, by field."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header = next(row for row in rows if row[0] == "field")
    start = rows.index(header) + 1
    body = [row for row in rows[start:] if len(row) == len(header) and row[0].startswith("`")]
    return {row[0].strip("`"): dict(zip(header[1:], row[1:], strict=True)) for row in body}


TABLE = written()


class World:
    """A gateway, and a new user with something of everything for each case."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway, self._url = gateway, f"127.0.0.1:{port}"
        self._count = 0

    async def ask(self, field: str, caller: str) -> str:
        """What becomes of this caller's operation: `served`, `null`, an error's code, or an HTTP status."""
        things = await self._things()
        operation = OPERATIONS[field]
        for name, value in things.items():
            operation = operation.replace(f"<{name}>", value)
        root = root_of(field)
        if root == "subscription":
            return await self._watch(f"subscription {{ {operation} }}", field, self._credential(caller, field, things))
        return await self._call(f"{root} {{ {operation} }}", field, self._credential(caller, field, things))

    async def _things(self) -> dict[str, str]:
        self._count += 1
        user = f"usr_{self._count}"
        gateway = self.gateway
        await gateway.people.create(id=user, email=f"{user}@example.com", name=None, locale=None, time_zone=None)
        device = await gateway.people.register_device(user, platform="WEB", token="token-of-theirs")
        template = f"template-{self._count}"
        locales = '[{locale: "en", subject: "Hi", text: "Hello"}]'
        made = (
            f'mutation {{ create_template(input: {{key: "{template}", publish: true, version: {{locales: {locales}}}}})'
        )
        await gateway.ask(f"{made} {SEEN} }}")
        sent = await gateway.send(recipient={"user_id": user}, request_id=f"r-{user}")
        return {
            "start": cursor.encode(0),
            "user": user,
            "device": device.id,
            "template": template,
            "new": f"new-{self._count}",
            "notification": sent["data"]["notifications"][0]["id"],
            "request": f"r-{user}",
            "suppression": (await gateway.blocks.add(Channel.EMAIL, f"{user}@example.org", "test")).id,
            "letter": gateway.letters.add().id,
            "key": (await gateway.ring.create("one", ["users:read"])).id,
        }

    def _credential(self, caller: str, field: str, things: dict[str, str]) -> str | None:
        if caller == "without credentials":
            return None
        scope = Scope(TABLE[field]["scope"].strip("`"))
        service = {"with the scope": {scope}, "without the scope": ALL_SCOPES - {scope}}.get(caller)
        if service is not None:
            return self._known(scopes=frozenset(service))
        user = things["user"] if caller == "end user: their own" else "usr_somebody_else"
        return self._known(kind=Kind.END_USER, user_id=user, scopes=frozenset())

    def _known(self, **more: Any) -> str:
        secret = f"hg_{new_id(API_KEY)}"
        client = "shop" if "user_id" not in more else f"user:{more['user_id']}"
        self.gateway.keys.known[secret] = Principal(client=client, key_id=secret, name="test", **more)
        return secret

    async def _call(self, document: str, field: str, credential: str | None) -> str:
        answer = await self.gateway.post(document, key=credential)
        if answer.status_code != httpx.codes.OK:
            return str(answer.status_code)
        body = answer.json()
        if "errors" in body:
            return str(body["errors"][0]["extensions"]["code"])
        data = body["data"][field]
        if data is None:
            return "null"
        return "served" if data.get("success", True) else str(data["error"]["code"])

    async def _watch(self, document: str, field: str, credential: str | None) -> str:
        async with opened(f"ws://{self._url}/graphql") as socket:
            if credential is None:
                await socket.say(type="connection_init")
                return str(await socket.closed())
            await socket.greet(credential)
            await socket.subscribe(document)
            message = await socket.hear()
            payload = message["payload"]
            errors = payload if message["type"] == "error" else payload.get("errors")
            return str(errors[0]["extensions"]["code"]) if errors else "served"


def root_of(field: str) -> str:
    """The kind of operation that has this root field."""
    schema = build_schema()._schema
    roots = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
    return next(name for name, root in roots.items() if root is not None and field in root.fields)


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with running_gateway() as gateway:
        server = Server(gateway.app, "127.0.0.1", 0)
        await server.start()
        yield World(gateway, server.port)
        await server.stop()


def test_the_table_has_every_root_field() -> None:
    schema = build_schema()._schema
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    assert set(TABLE) == {field for root in roots if root is not None for field in root.fields}
    assert set(OPERATIONS) == set(TABLE)


@pytest.mark.parametrize("field", OPERATIONS)
async def test_everybody_gets_what_the_table_says(world: World, field: str) -> None:
    found = {caller: await world.ask(field, caller) for caller in CALLERS}
    assert found == {caller: TABLE[field][caller] for caller in CALLERS}


class TestEndUsers:
    """Beyond the table: what an end user is shown where nobody else is named."""

    async def test_lists_without_a_filter_hold_only_their_own(self, world: World) -> None:
        mine, others = await world._things(), await world._things()
        secret = world._known(kind=Kind.END_USER, user_id=mine["user"], scopes=frozenset())
        found = await world.gateway.ask(
            "{ notifications { data { id } } notifications_connection { nodes { id } } }", key=secret
        )
        assert [each["id"] for each in found["notifications"]["data"]] == [mine["notification"]]
        assert [each["id"] for each in found["notifications_connection"]["nodes"]] == [mine["notification"]]
        assert others["notification"] not in str(found)

    async def test_the_feed_tells_only_of_them(self, world: World) -> None:
        mine, _ = await world._things(), await world._things()
        secret = world._known(kind=Kind.END_USER, user_id=mine["user"], scopes=frozenset())
        async with opened(f"ws://{world._url}/graphql") as socket:
            await socket.greet(secret)
            await socket.subscribe(f'subscription {{ status_feed(after: "{cursor.encode(0)}") {{ notification_id }} }}')
            heard = await socket.hear()
        assert heard["payload"]["data"]["status_feed"]["notification_id"] == mine["notification"]

    @pytest.mark.parametrize("thing", ["notification", "user", "device"])
    async def test_a_foreign_node_is_null_and_their_own_is_not(self, world: World, thing: str) -> None:
        mine, others = await world._things(), await world._things()
        secret = world._known(kind=Kind.END_USER, user_id=mine["user"], scopes=frozenset())
        query = "query ($id: ID!) { node(id: $id) { id } }"
        assert await world.gateway.ask(query, {"id": others[thing]}, key=secret) == {"node": None}
        assert await world.gateway.ask(query, {"id": mine[thing]}, key=secret) == {"node": {"id": mine[thing]}}

    @pytest.mark.parametrize("thing", ["suppression", "letter", "key"])
    async def test_what_is_nobodys_in_particular_is_null_too(self, world: World, thing: str) -> None:
        mine = await world._things()
        secret = world._known(kind=Kind.END_USER, user_id=mine["user"], scopes=frozenset())
        query = "query ($id: ID!) { node(id: $id) { id } }"
        assert await world.gateway.ask(query, {"id": mine[thing]}, key=secret) == {"node": None}


async def test_a_key_for_notifications_alone_learns_nothing_of_users_through_them(world: World) -> None:
    things = await world._things()
    secret = world._known(scopes=frozenset({Scope.NOTIFICATIONS_READ}))
    query = "query ($id: ID!) { notification(id: $id) { data { recipient { user_id user { email } } } } }"
    answer = (await world.gateway.post(query, {"id": things["notification"]}, key=secret)).json()
    recipient = answer["data"]["notification"]["data"]["recipient"]
    assert recipient == {"user_id": things["user"], "user": None}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]


class TestRest:
    async def test_end_users_read_their_own_notifications_and_no_requests(self, world: World) -> None:
        mine, others = await world._things(), await world._things()
        secret = world._known(kind=Kind.END_USER, user_id=mine["user"], scopes=frozenset())
        headers = {"Authorization": f"Bearer {secret}"}
        http = world.gateway.http
        assert (await http.get(f"/v1/notifications/{mine['notification']}", headers=headers)).status_code == 200
        assert (await http.get(f"/v1/notifications/{others['notification']}", headers=headers)).status_code == 404
        assert (await http.get(f"/v1/requests/{mine['request']}", headers=headers)).status_code == 403
