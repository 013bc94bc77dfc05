"""Rendering without sending: what a recipient would get to see.

A preview is a submission to nobody. It is checked by the rules of sending (`domain.drafting`) and filled by the code of
delivery (`Renderer.render`), from the same source of template versions; so it says what sending would say. It happens
here rather than in the Template Service because the gateway must know all variables that are missing, as it does when
sending, and has the version at hand. It happens in a thread, because a template may take a second.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.drafting import Drafting
from domain.errors import FieldProblem, TemplateError, UndefinedVariable, ValidationFailed
from domain.notification import Channel
from domain.offloop import OffLoop
from domain.outgoing import Pinned
from domain.ports import Known, Templates
from domain.recipient import Device, Recipient
from domain.send import template_version
from domain.submission import RecipientRef, Submission, TemplateRef, shape_problems
from domain.template import Rendered, Renderer, TemplateVersion

NOBODY = Recipient(email="nobody@example.com", devices=(Device(id=None, token="nobodys-device"),))  # noqa: S106  # no secret
"""Whom every channel reaches, who wants everything and has no language."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent, on all channels asked for together, and the version and locale that it was made from."""

    template: Pinned
    rendered: Rendered


class Previews:
    """Renders off the event loop; `waiting` and `deadline` are those of `OffLoop`."""

    def __init__(self, templates: Templates, *, waiting: int = 16, deadline: float = 5.0) -> None:
        self._templates = templates
        self._renderer = Renderer(cache_size=256)
        self._off_loop = OffLoop("previews", waiting=waiting, deadline=deadline)

    async def render(self, template: TemplateRef, variables: dict[str, Any], channel: Channel | None) -> Preview:
        """What would be sent on this channel; None: on every channel that the template has a body for.

        Raises `ValidationFailed` naming every wrong field as sending does, `UpstreamUnavailable`, and `RateLimited`
        when too much is waiting.
        """
        submission = Submission(
            client="",
            request_id=None,
            recipients=(RecipientRef(email=NOBODY.email),),
            channels=None if channel is None else (channel,),
            template=template,
            variables=variables,
        )
        if problems := shape_problems(submission, datetime.now(UTC)):
            raise ValidationFailed(problems)
        version = (await template_version(template, self._templates)).value
        return await self._off_loop.run(lambda: _preview(submission, version, self._renderer))

    async def variables(self, version: TemplateVersion) -> tuple[str, ...]:
        """The variables that some language of this version uses, as dotted paths, sorted."""
        return await self._off_loop.run(lambda: version.variables)

    def close(self) -> None:
        """Give up what waits. May be called twice."""
        self._off_loop.close()


def _preview(submission: Submission, version: TemplateVersion, renderer: Renderer) -> Preview:
    drafts = Drafting(submission, Known(version), {}, renderer, datetime.now(UTC)).drafts([Known(NOBODY)])
    pinned = drafts[0].template
    assert pinned is not None, "it is a template"
    body, _ = version.choose(pinned.locale)
    # A worker reads them from the database: numbers may be other ones than they were in the request.
    variables = msgspec.json.decode(msgspec.json.encode(submission.variables))
    parts: dict[str, Any] = {}
    for draft in drafts:
        try:
            rendered = renderer.render(body, variables, channel=draft.channel)
        except UndefinedVariable as error:
            problem = FieldProblem(("variables", error.name), error.code.lower(), error.message)
            raise ValidationFailed([problem]) from error
        except TemplateError as error:
            raise ValidationFailed.of("template", error.code.lower(), error.message) from error
        parts.update({name: value for name, value in msgspec.structs.asdict(rendered).items() if value is not None})
    return Preview(template=pinned, rendered=Rendered(**parts))
