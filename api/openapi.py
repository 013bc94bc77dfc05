"""OpenAPI for answers that are msgspec structs, and the frame that the REST services share."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from api.health import Check, health_routes
from api.http import Correlation, Envelope, LastResort, ServiceToken, install_error_handlers

_REF = "#/components/schemas/{name}"
_FAILURES = {
    401: "The service token is missing or wrong.",
    404: "There is no such thing.",
    409: "It clashes with what exists.",
    422: "The input breaks a rule; `error.fields` says which.",
    503: "The service's database is away; try again.",
}


class Answers:
    """Collects the types that a service answers with, and describes them in its OpenAPI document."""

    def __init__(self) -> None:
        self._types: dict[str, Any] = {}

    def of(self, data: Any, description: str, *failures: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
        """The `responses` of a route that answers `data` in the envelope, or fails in one of these ways."""
        responses: dict[int | str, dict[str, Any]] = {status: self._response(Envelope[data], description)}
        for code in (401, *failures, 422, 503):
            responses[code] = self._response(Envelope[None], _FAILURES[code])
        return responses

    def install(self, app: FastAPI) -> None:
        """Add the collected types to the document of `app`; call it after all routes."""
        original = app.openapi

        def openapi() -> dict[str, Any]:
            document = original()
            _, schemas = msgspec.json.schema_components(self._types.values(), ref_template=_REF)
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
            return document

        setattr(app, "openapi", openapi)  # noqa: B010 - FastAPI's documented way

    def _response(self, type_: Any, description: str) -> dict[str, Any]:
        (schema,), _ = msgspec.json.schema_components([type_], ref_template=_REF)
        self._types[schema["$ref"]] = type_
        return {"description": description, "content": {"application/json": {"schema": schema}}}


def service(
    *,
    title: str,
    description: str,
    tags: Sequence[Mapping[str, str]],
    checks: Mapping[str, Check],
    service_token: str | None,
    metrics: CollectorRegistry | None,
) -> FastAPI:
    """A REST service without its routes: envelope, errors, correlation id, token, health, documentation."""
    app = FastAPI(
        title=title,
        description=description,
        version="1.0.0",
        openapi_tags=[dict(tag) for tag in tags],
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    install_error_handlers(app)
    # The last one added is the outermost.
    if service_token is not None:
        app.add_middleware(ServiceToken, token=service_token)
    app.add_middleware(LastResort)
    app.add_middleware(Correlation)
    app.router.routes.extend(health_routes(checks, metrics=metrics))
    return app
