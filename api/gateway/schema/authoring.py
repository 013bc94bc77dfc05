"""The root fields about templates. The Template Service owns them; what it refuses with is passed on."""

from typing import Annotated

import strawberry

from api.gateway.schema.context import Info
from api.gateway.schema.envelope import Answers, check_page
from api.gateway.schema.inputs import given
from api.gateway.schema.paging import Limit, PageNumber
from api.gateway.schema.templates import (
    CreateTemplateInput,
    Template,
    TemplateListPayload,
    TemplatePayload,
    TemplateVersionInput,
)
from api.gateway.schema.users import DeletePayload
from api.security import Scope
from domain.errors import ValidationFailed

field = strawberry.field
TemplateKey = Annotated[str, strawberry.argument(description="The template's key.")]


@strawberry.type
class TemplateQueries:
    """Mixed into `Query`."""

    @field(description="One template.", extensions=[Answers(TemplatePayload, Scope.TEMPLATES_READ)])
    async def template(self, info: Info, key: TemplateKey) -> TemplatePayload:
        """By key."""
        return TemplatePayload.ok(Template.of(await info.context.services.templates.get(key)))

    @field(description="Templates, by key.", extensions=[Answers(TemplateListPayload, Scope.TEMPLATES_READ)])
    async def templates(self, info: Info, page: PageNumber = 1, limit: Limit = 20) -> TemplateListPayload:
        """A page."""
        check_page(page, limit)
        return TemplateListPayload.of(await info.context.services.templates.list(page=page, limit=limit))


@strawberry.type
class TemplateMutations:
    """Mixed into `Mutation`."""

    @strawberry.mutation(
        description="Create a template, with its first version if you like.",
        extensions=[Answers(TemplatePayload, Scope.TEMPLATES_WRITE)],
    )
    async def create_template(
        self, info: Info, input: Annotated[CreateTemplateInput, strawberry.argument(description="The template.")]
    ) -> TemplatePayload:
        """A taken key is a conflict."""
        if input.publish and not input.version:
            raise ValidationFailed.of("publish", "no_version", "There is no version to publish.")
        locales = input.version.read(("version",)) if input.version else None
        view = await info.context.services.templates.create(
            input.key,
            name=given(input.name),
            default_locale=given(input.default_locale),
            locales=locales,
            note=given(input.version.note) if input.version else None,
            publish=bool(input.publish),
        )
        return TemplatePayload.ok(Template.of(view), "Created.")

    @strawberry.mutation(
        description="Write a new version of a template. It is not sent before it is published.",
        extensions=[Answers(TemplatePayload, Scope.TEMPLATES_WRITE)],
    )
    async def create_template_version(
        self,
        info: Info,
        key: TemplateKey,
        input: Annotated[TemplateVersionInput, strawberry.argument(description="The version.")],
    ) -> TemplatePayload:
        """Each call makes another version."""
        templates = info.context.services.templates
        await templates.create_version(key, input.read(), note=given(input.note))
        return TemplatePayload.ok(Template.of(await templates.get(key)), "Created.")

    @strawberry.mutation(
        description="Send this version from now on. Publish an older one to roll back.",
        extensions=[Answers(TemplatePayload, Scope.TEMPLATES_WRITE)],
    )
    async def publish_template_version(
        self,
        info: Info,
        key: TemplateKey,
        version: Annotated[int, strawberry.argument(description="Which version.")],
    ) -> TemplatePayload:
        """May be called again."""
        view = await info.context.services.templates.publish(key, version)
        return TemplatePayload.ok(Template.of(view), "Published.")

    @strawberry.mutation(
        description="Delete a template. Notifications that were accepted with it are still delivered.",
        extensions=[Answers(DeletePayload, Scope.TEMPLATES_WRITE)],
    )
    async def delete_template(self, info: Info, key: TemplateKey) -> DeletePayload:
        """NOT_FOUND the second time."""
        await info.context.services.templates.delete(key)
        return DeletePayload.deleted(key)
