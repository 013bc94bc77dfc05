"""OpenAPI for answers that are msgspec structs, and the frame that the REST services share."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import msgspec
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from api.health import OPTIONAL, Check, health_routes
from api.http import Correlation, Envelope, LastResort, PageMeta, Problem, ServiceToken, install_error_handlers
from api.swagger import docs_routes

Json = dict[str, Any]

SERVICE_TOKEN: Json = {
    "service_token": {
        "type": "http",
        "scheme": "bearer",
        "description": "What our services show each other: `HELIOGRAPH_SERVICE_TOKEN`.",
    }
}
_REF = "#/components/schemas/{name}"
_FAILURES: dict[int | str, str] = {
    401: "The credential is missing or wrong.",
    403: "The credential does not allow it.",
    404: "There is no such thing.",
    409: "It clashes with what exists.",
    422: "The input breaks a rule; `error.fields` says which.",
    429: "Too many calls; `error.retry_after_seconds` says when to come back.",
    503: "Something that the service needs is away; try again.",
    "default": "Any other failure.",
}


class Answers:
    """Collects what a service answers with, and describes it in its OpenAPI document.

    `usual` are the HTTP statuses of the failures that every route knows.
    """

    def __init__(self, *usual: int) -> None:
        self._usual = usual or (401, 422, 503)
        self._schemas: Json = {}

    def of(self, data: Any, description: str, *failures: int, status: int = 200) -> dict[int | str, Json]:
        """The `responses` of a route that answers `data` in the envelope, or fails in one of these ways.

        `data` is a struct or a list of one.
        """
        (shown, problem, page), components = _described([data, Problem, PageMeta])
        answer = _envelope(True, data=shown, meta=_or_null(page) if "items" in shown else None)
        envelopes = {_name(shown): answer, "Failure": _envelope(False, error=problem)}
        _unite(self._schemas, {**components, **envelopes}, "schemas")
        codes: list[int | str] = [*sorted({*failures, *self._usual}), "default"]
        return {
            status: _response(description, _name(shown)),
            **{code: _response(_FAILURES[code], "Failure") for code in codes},
        }

    def install(self, app: FastAPI) -> None:
        """Add what was collected to the document of `app`; call it after all routes.

        Making the document raises `ValueError` when an answer has the name of an input of another shape.
        """

        def describe(document: Json) -> None:
            known = document.setdefault("components", {}).setdefault("schemas", {})
            _settle_enums(known)
            _unite(known, self._schemas, "schemas")

        _extend(app, describe)


def documented(*, title: str, description: str, tags: Sequence[Mapping[str, str]], security: Json) -> FastAPI:
    """A REST application without routes and middleware: failures come in the envelope, and that is all.

    `security` are the OpenAPI security schemes that its routes take; a caller needs one of them.
    """
    app = FastAPI(
        title=title,
        description=description,
        version="1.0.0",
        openapi_tags=[dict(tag) for tag in tags],
        openapi_url=None,
        separate_input_output_schemas=False,
    )
    install_error_handlers(app)

    def secure(document: Json) -> None:
        document.setdefault("components", {})["securitySchemes"] = security
        document["security"] = [{name: []} for name in security]

    if security:
        _extend(app, secure)
    return app


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
    security = {} if service_token is None else SERVICE_TOKEN
    app = documented(title=title, description=description, tags=tags, security=security)
    # The last one added is the outermost.
    if service_token is not None:
        app.add_middleware(ServiceToken, token=service_token)
    app.add_middleware(LastResort)
    app.add_middleware(Correlation)
    app.router.routes.extend(
        [*docs_routes(lambda: app.openapi()), *health_routes(checks, optional=OPTIONAL, metrics=metrics)]
    )
    return app


def merged(first: FastAPI, beside: Mapping[str, FastAPI]) -> Json:
    """One document for applications that share a port, under the title and the security of the first one.

    `beside` are the others by the prefixes of those of their paths that the port lets in; the rest is left out. Raises
    `ValueError` when two of them mean different things by one path, tag or schema.
    """
    document = deepcopy(first.openapi())
    tags = _tags(document)
    for prefix, app in beside.items():
        more = deepcopy(app.openapi())
        paths = {path: item for path, item in more["paths"].items() if f"{path}/".startswith(f"{prefix}/")}
        operations = [operation for item in paths.values() for operation in item.values()]
        for operation in operations:
            # The door in front of them asks what a credential is for; the services themselves do not.
            operation["responses"].setdefault("403", _response(_FAILURES[403], "Failure"))
        used = {tag for operation in operations for tag in operation["tags"]}
        _unite(tags, {name: tag for name, tag in _tags(more).items() if name in used}, "tags")
        _unite(document["paths"], paths, "paths")
        _unite(document["components"]["schemas"], more["components"]["schemas"], "schemas")
    return {**document, "tags": list(tags.values())}


def _tags(document: Json) -> Json:
    return {tag["name"]: tag for tag in document.get("tags", ())}


def _described(types: Sequence[Any]) -> tuple[tuple[Json, ...], Json]:
    """The schemas of these types, and those that they refer to by name."""
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    _settle_enums(components)
    return schemas, components


def _settle_enums(schemas: Json) -> None:
    """msgspec and pydantic describe one enum in two ways: have them agree."""
    for schema in schemas.values():
        if all(isinstance(value, str) for value in schema.get("enum", [None])):
            schema.update(type="string", enum=sorted(schema["enum"]))


def _envelope(success: bool, *, data: Json | None = None, error: Json | None = None, meta: Json | None = None) -> Json:
    """`Envelope` with what is known of it: which of its parts are there, and which are null."""
    null = {"type": "null"}
    properties = {
        "success": {"type": "boolean", "const": success},
        "data": data or null,
        "error": error or null,
        "message": {"type": "string"},
        "meta": meta or null,
    }
    return {"type": "object", "description": Envelope.__doc__, "properties": properties, "required": list(properties)}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _name(data: Json) -> str:
    """What the envelope of such data is called: `UserAnswer`, `UserListAnswer`."""
    kind = "ListAnswer" if "items" in data else "Answer"
    return str(data.get("items", data)["$ref"]).rpartition("/")[2] + kind


def _response(description: str, schema: str) -> Json:
    content = {"application/json": {"schema": {"$ref": _REF.format(name=schema)}}}
    return {"description": description, "content": content}


def _unite(known: Json, more: Json, what: str) -> None:
    if differing := sorted(name for name in known.keys() & more.keys() if known[name] != more[name]):
        raise ValueError(f"OpenAPI: two {what} named {', '.join(differing)} differ.")
    known.update(more)


def _extend(app: FastAPI, change: Callable[[Json], None]) -> None:
    original = app.openapi

    def openapi() -> Json:
        document = original()
        change(document)
        return document

    setattr(app, "openapi", openapi)  # noqa: B010 - FastAPI's documented way
