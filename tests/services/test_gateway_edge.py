"""The gateway besides its operations: the status over REST, the schema itself, the API keys."""

from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
)

from api.gateway.schema import build_schema
from api.schema_file import print_schema
from tests.services.gateway_fakes import READER, Gateway

ADA = {"email": "ada@example.com"}
CONTENT = {"subject": "Hi", "text": "Hello"}


def error_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The one top-level error."""
    assert "data" not in answer or answer["data"] is None
    error: dict[str, Any]
    (error,) = answer["errors"]
    return error


async def test_rest_tells_the_status_without_device_tokens(gateway: Gateway) -> None:
    token = "device-token-1234"
    sent = await gateway.send(recipient={"device_token": token}, content={"title": "Hi"}, request_id="a/b")
    id = sent["data"]["notifications"][0]["id"]
    headers = {"X-API-Key": READER}
    found = await gateway.http.get(f"/v1/notifications/{id}", headers=headers)
    assert (found.json()["data"]["status"], found.json()["data"]["timeline"][0]["sequence"]) == ("ACCEPTED", 1)
    assert token not in found.text
    request = await gateway.http.get("/v1/requests/a/b", headers=headers)
    assert (request.json()["data"]["total"], request.json()["data"]["finished"]) == (1, False)
    missing = await gateway.http.get("/v1/notifications/ntf_x", headers=headers)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert (await gateway.http.get(f"/v1/notifications/{id}")).status_code == 401
    nowhere = await gateway.http.get("/nowhere")
    assert (nowhere.status_code, nowhere.json()["success"]) == (404, False)


CONTRACT = {
    "Query": "notification notifications request user users template templates preview_template suppressions api_keys "
    "node notifications_connection users_connection",
    "Mutation": "send_notification send_batch cancel_notification create_user update_user delete_user register_device "
    "remove_device set_preferences create_template create_template_version publish_template_version delete_template "
    "add_suppression lift_suppression create_api_key revoke_api_key",
    "Subscription": "notification_status request_status request_progress status_feed",
    "Response": "success message error meta",
    "PageMeta": "total limit page total_pages has_next has_previous",
    "Request": "id request_id correlation_id total counts finished created_at notifications",
    "Notification": "id request_id correlation_id channel status reason sequence recipient template category priority "
    "provider provider_message_id attempts timeline possible_duplicate metadata created_at send_at deliver_by "
    "updated_at",
    "StatusEvent": "cursor position sequence notification_id request_id channel status previous_status reason attempt "
    "provider detail occurred_at recorded_at correlation_id notification",
    "SendReceipt": "request notifications duplicate accepted",
    "SendNotificationInput": "request_id recipient channels template content variables category priority send_at "
    "deliver_by push metadata",
    "RecipientInput": "user_id email device_token",
    "User": "id email name locale time_zone devices preferences created_at updated_at",
    "Preferences": "channels quiet_hours",
    "ChannelPreference": "channel category enabled",
    "QuietHours": "from to",
    "QuietHoursInput": "from to",
    "PreferencesInput": "channels quiet_hours",
    "Rendered": "key version locale locale_fallback subject html text title body",
    "PreviewTemplateInput": "template variables channel",
    "Suppression": "id channel contact_point reason created_at",
    "SuppressionInput": "channel contact_point reason",
    "ApiKey": "id name scopes created_at last_used_at revoked_at",
    "CreateApiKeyInput": "name scopes",
    "PageInfo": "hasNextPage hasPreviousPage startCursor endCursor",
    "ErrorCode": "VALIDATION_FAILED NOT_FOUND CONFLICT FORBIDDEN RATE_LIMITED TOO_LATE UPSTREAM_UNAVAILABLE",
}


@pytest.mark.parametrize("name", CONTRACT)
def test_the_names_of_the_contract_are_there(name: str) -> None:
    type_ = build_schema()._schema.type_map[name]
    names = type_.values if isinstance(type_, GraphQLEnumType) else type_.fields  # type: ignore[attr-defined]
    assert set(CONTRACT[name].split()) <= set(names)


def test_everything_in_the_schema_is_described() -> None:
    bare = []
    for type_ in build_schema()._schema.type_map.values():
        if type_.name.startswith("__"):
            continue
        parts: list[tuple[str, Any]] = [(type_.name, type_)]
        if isinstance(type_, GraphQLEnumType):
            parts += [(f"{type_.name}.{name}", value) for name, value in type_.values.items()]
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            parts += [(f"{type_.name}.{name}", value) for name, value in type_.fields.items()]
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            for name, value in type_.fields.items():
                parts += [(f"{type_.name}.{name}.{each}", given) for each, given in value.args.items()]
        bare += [name for name, part in parts if not part.description]
    assert bare == []


WITHOUT_ENVELOPE = ("node", "notifications_connection", "users_connection")


def test_every_root_field_but_node_and_the_connections_answers_in_the_envelope() -> None:
    schema = build_schema()._schema
    for root in (schema.query_type, schema.mutation_type):
        assert root is not None
        for name, field in root.fields.items():
            type_ = getattr(field.type, "of_type", field.type)
            assert name in WITHOUT_ENVELOPE or "Response" in [interface.name for interface in type_.interfaces], name


def test_the_printed_schema_is_always_the_same() -> None:
    text = print_schema()
    assert text == print_schema()
    assert text.endswith("}\n")
    assert "input RecipientInput @oneOf {" in text


# --------------------------------------------------------------------------------------------------------- API keys
