"""The root field that shows what a template would say, without sending anything."""

from typing import Annotated, Any, Self

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from api.gateway.previews import Preview
from api.gateway.schema.context import Info
from api.gateway.schema.envelope import Answers, Response
from api.gateway.schema.inputs import TemplateInput, given
from api.security import Scope
from domain.errors import ValidationFailed
from domain.notification import Channel

field = strawberry.field


@strawberry.input(description="What to render.")
class PreviewTemplateInput:
    """What to render."""

    template: TemplateInput = field(
        description="Which template. A version may be named before it is published; without a locale it is the default."
    )
    variables: JSON | None = field(default=UNSET, description="An object: what the template's variables stand for.")
    channel: Channel | None = field(
        default=UNSET, description="What this channel shows; left out, all channels that the template has a body for."
    )


@strawberry.type(description="What a recipient would get to see. What no channel asked for needs is null.")
class Rendered:
    """What a recipient would get to see."""

    key: str = field(description="The template.")
    version: int = field(description="The version that was asked for, else the published one.")
    locale: str = field(description="The locale that was chosen.")
    locale_fallback: list[str] = field(description="The locales that were tried, in order; the last one was chosen.")
    subject: str | None = field(description="Email: the subject, one line.")
    html: str | None = field(description="Email: the HTML part, with the variables escaped.")
    text: str | None = field(description="Email: the text part, made from the HTML where the template has none.")
    title: str | None = field(description="Push: the title, one line.")
    body: str | None = field(description="Push: the text.")
    image_url: str | None = field(description="Push: a picture.")
    data: JSON | None = field(description="Push: text values by name, for the app.")

    @classmethod
    def of(cls, preview: Preview) -> Self:
        """From the previews."""
        chosen, rendered = preview.template, preview.rendered
        return cls(
            key=chosen.key,
            version=chosen.version,
            locale=chosen.locale,
            locale_fallback=list(chosen.locale_fallback),
            subject=rendered.subject,
            html=rendered.html,
            text=rendered.text,
            title=rendered.title,
            body=rendered.body,
            image_url=rendered.image_url,
            data=None if rendered.data is None else JSON(rendered.data),
        )


@strawberry.type(description="A rendered template.")
class PreviewTemplatePayload(Response):
    """A rendered template."""

    data: Rendered | None = field(default=None, description="What would be sent; null on failure.")


@strawberry.type
class PreviewQueries:
    """Mixed into `Query`."""

    @field(
        description="What a template would say: the same text, and the same refusals, as sending it.",
        extensions=[Answers(PreviewTemplatePayload, Scope.TEMPLATES_READ)],
    )
    async def preview_template(
        self,
        info: Info,
        input: Annotated[PreviewTemplateInput, strawberry.argument(description="What to render.")],
    ) -> PreviewTemplatePayload:
        """Changes nothing."""
        variables: Any = given(input.variables)
        if variables is not None and not isinstance(variables, dict):
            raise ValidationFailed.of("variables", "type", "takes an object")
        preview = await info.context.services.previews.render(
            input.template.read(), variables or {}, given(input.channel)
        )
        return PreviewTemplatePayload.ok(Rendered.of(preview))
