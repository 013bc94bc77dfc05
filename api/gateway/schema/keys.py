"""API keys as GraphQL shows them, and what makes and revokes them."""

from datetime import datetime
from typing import Annotated, Self

import strawberry
from strawberry import UNSET

from api.api_keys import ApiKey as ApiKeyRecord
from api.gateway.schema.context import Info
from api.gateway.schema.envelope import Answers, PageMeta, Response, check_page
from api.gateway.schema.inputs import given
from api.gateway.schema.node import Node
from api.gateway.schema.paging import Limit, PageNumber
from api.gateway.schema.users import Deleted, DeletePayload
from api.security import Scope

field = strawberry.field
_SCOPES = ", ".join(f"`{scope.value}`" for scope in Scope)


@strawberry.type(description="What a service proves with who it is. The secret itself is kept nowhere.")
class ApiKey(Node):
    """What a service proves with who it is."""

    name: str = field(description="What it is for, in the words of whoever made it.")
    client: str = field(description="Who a request_id is unique for. Keys that replace each other share it.")
    scopes: list[str] = field(description=f"What it may do: {_SCOPES}.")
    test: bool = field(description="Whether what it sends goes to the sandbox, whatever providers there are.")
    created_at: datetime = field(description="When it was made.")
    last_used_at: datetime | None = field(description="When it was last used, to a minute or so; null: never.")
    revoked_at: datetime | None = field(description="When it was revoked; null: it is good.")

    @classmethod
    def of(cls, key: ApiKeyRecord) -> Self:
        """From the store."""
        return cls(
            id=strawberry.ID(key.id),
            name=key.name,
            client=key.client,
            scopes=list(key.scopes),
            test=key.test,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
            revoked_at=key.revoked_at,
        )


@strawberry.input(description="A new API key.")
class CreateApiKeyInput:
    """A new API key."""

    name: str = field(description="What it is for.")
    scopes: list[str] = field(description=f"What it may do, no more than your own key may: {_SCOPES}.")
    client: str | None = field(
        default=UNSET, description="The client of an older key that this one replaces; left out, it is a new client."
    )
    test: bool | None = field(
        default=UNSET, description="A test key: what it sends goes to the sandbox. It cannot hold `operations`."
    )


@strawberry.type(description="An API key that was just made.")
class CreatedApiKey:
    """An API key that was just made."""

    key: ApiKey = field(description="The key.")
    secret: str = field(description="What to send as `Authorization: Bearer …`. It is shown this once and never again.")


@strawberry.type(description="A new API key.")
class CreateApiKeyPayload(Response):
    """A new API key."""

    data: CreatedApiKey | None = field(default=None, description="The key and its secret; null on failure.")


@strawberry.type(description="A page of API keys.")
class ApiKeyListPayload(Response):
    """A page of API keys."""

    data: list[ApiKey] | None = field(default=None, description="The keys; null on failure.")


@strawberry.type
class KeyQueries:
    """Mixed into `Query`."""

    @field(
        description="API keys, the newest first, revoked ones included.",
        extensions=[Answers(ApiKeyListPayload, Scope.OPERATIONS)],
    )
    async def api_keys(self, info: Info, page: PageNumber = 1, limit: Limit = 20) -> ApiKeyListPayload:
        """A page."""
        check_page(page, limit)
        found, total = await info.context.services.keys.page(page, limit)
        return ApiKeyListPayload.ok([ApiKey.of(key) for key in found], meta=PageMeta.of(total, page, limit))


@strawberry.type
class KeyMutations:
    """Mixed into `Mutation`."""

    @strawberry.mutation(
        description="Make an API key. Its secret is in the answer, and only there.",
        extensions=[Answers(CreateApiKeyPayload, Scope.OPERATIONS)],
    )
    async def create_api_key(
        self, info: Info, input: Annotated[CreateApiKeyInput, strawberry.argument(description="The key.")]
    ) -> CreateApiKeyPayload:
        """Each call makes another one."""
        made = await info.context.services.keys.create(
            input.name,
            input.scopes,
            client=given(input.client),
            granted_by=info.context.principal,
            test=bool(given(input.test)),
        )
        return CreateApiKeyPayload.ok(CreatedApiKey(key=ApiKey.of(made), secret=made.secret), "Created.")

    @strawberry.mutation(
        description="Revoke an API key: it is refused from now on, and its sockets are closed.",
        extensions=[Answers(DeletePayload, Scope.OPERATIONS)],
    )
    async def revoke_api_key(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The key.")]
    ) -> DeletePayload:
        """May be called again."""
        await info.context.services.keys.revoke(id)
        return DeletePayload.ok(Deleted(id=id), "Revoked.")
