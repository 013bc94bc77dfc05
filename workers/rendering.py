"""From a claim to text, the same for every channel: fetch the pinned template version, and fill it."""

import asyncio

from domain.errors import NotFound, TemplateError, Unavailable
from domain.notification import Channel, Outcome
from domain.outgoing import Delivered
from domain.ports import Claim, Templates
from domain.template import Rendered, Renderer

TEMPLATE_PAUSE = 5.0
"""Seconds until a notification is looked at again whose template could not be fetched."""


async def rendered_or_refused(
    claim: Claim, channel: Channel, templates: Templates, renderer: Renderer, deadline: float
) -> Rendered | Delivered:
    """What is to be sent, or what it came to without a call, within `deadline` seconds.

    Without its template nothing is tried and no attempt is used; a template that cannot be rendered is PERMANENT,
    because it will be the same next time.
    """
    try:
        async with asyncio.timeout(deadline):
            return await _render(claim, channel, templates, renderer)
    except (Unavailable, TimeoutError):
        reason = "The template could not be fetched; the Template Service is away."
        return Delivered(outcome=None, code="template_unavailable", retry_after=TEMPLATE_PAUSE, reason=reason)
    except NotFound as error:
        return refused("template_not_found", error.message)
    except TemplateError as error:
        return refused(error.code.lower(), error.message)


def refused(code: str, reason: str) -> Delivered:
    """It cannot be sent, now or later; no provider was called."""
    return Delivered(outcome=Outcome.PERMANENT, code=code, reason=reason)


async def _render(claim: Claim, channel: Channel, templates: Templates, renderer: Renderer) -> Rendered:
    if claim.template is None:
        if claim.content is None:
            raise TemplateError("The notification has neither a template nor content.")
        return renderer.render(claim.content, claim.variables, channel=channel)
    version = await templates.version(claim.template.key, claim.template.version)
    body, _ = version.choose(claim.template.locale)
    return renderer.render(body, claim.variables, channel=channel)
