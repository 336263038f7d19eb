"""Parameters of queries, paths and headers: unknown and repeated ones are rejected, and errors say what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler
from msgspec import ValidationError, convert, inspect

from domain.shared.requirements import is_none, requirement_of
from services.api.http.problems import HttpRejected
from services.api.http.requests import AnyRequest

PARAMETERS_MAX = 50
_SHOWN_CHARS_MAX = 60
_HANDLERS_MAX = 500
# How the framework words a parameter that is not given.
_MISSING = re.compile(r"Missing required \w+ parameter '([^']+)'")


async def check_query(request: AnyRequest) -> None:
    """Rejects repeated parameters, and under /v1 unknown ones. Pages ignore those: links to them carry utm_source and others."""
    if not request.scope["query_string"]:
        return
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) > PARAMETERS_MAX:
        raise _invalid(f"There are {len(names)} query parameters; at most {PARAMETERS_MAX} are allowed.")
    if repeated := {name for name in names if names.count(name) > 1}:
        raise _invalid(f"The query parameter {_shown(min(repeated))} is given more than once.")
    if request.scope["path_template"].startswith("/v1/") and request.method != "OPTIONS":
        handler = request.route_handler
        _reject_unknown(names, _query_names(handler))
        for name, text in request.query_params.items():
            if text.lower() == "null" and (requirement := _no_text(handler).get(name)):
                raise _invalid(requirement)


def explain_invalid(request: AnyRequest, error: ValidationException) -> HttpRejected:
    """Names each parameter that has the wrong form, and says what to write."""
    if missing := _MISSING.match(error.detail):
        return _invalid(f"{missing[1]} is missing. Add it to the query, for example {missing[1]}=….")
    extra = error.extra if isinstance(error.extra, list) else []
    keys = [str(each.get("key", "")) for each in extra if isinstance(each, dict)]
    if not keys or "data" in keys:
        return _invalid("The body is missing. Send a JSON object.")
    return _invalid(" ".join(_requirement(request.route_handler, key.partition(".")[0]) for key in keys))


def _requirement(handler: Any, key: str) -> str:
    field = handler.signature_model._fields.get(key)
    annotation = handler.signature_model.__annotations__.get(key, str)
    name = getattr(getattr(field, "kwarg_definition", None), "name", None) or key
    return f"{name}: {requirement_of(_without_null(inspect.type_info(annotation)))}."


@lru_cache(_HANDLERS_MAX)
def _no_text(handler: BaseRouteHandler) -> dict[str, str]:
    """What to write in each parameter that is a number, id or the like, where msgspec reads ``null`` as not given."""
    found = {}
    for key, annotation in handler.signature_model.__annotations__.items():
        if _reads_null(annotation):
            definition = handler.parsed_fn_signature.parameters[key].kwarg_definition
            found[getattr(definition, "name", None) or key] = _requirement(handler, key)
    return found


def _reads_null(annotation: object) -> bool:
    try:
        return convert("null", annotation, strict=False) is None
    except (ValidationError, TypeError):
        return False


def _without_null(type: inspect.Type) -> inspect.Type:
    """A parameter that may be null is left out: no text in a query stands for null."""
    if not isinstance(type, inspect.UnionType):
        return type
    return inspect.UnionType(tuple(each for each in type.types if not is_none(each)))


@lru_cache(_HANDLERS_MAX)
def _query_names(handler: BaseRouteHandler) -> tuple[str, ...]:
    """The parameters in the signature of a handler that are neither in its path nor in headers."""
    found = []
    for name, field in handler.parsed_fn_signature.parameters.items():
        definition = field.kwarg_definition
        in_query = getattr(definition, "param_type", None) in (None, "query")
        if name not in _RESERVED and in_query and not _is_in_path(handler, name):
            found.append(getattr(definition, "name", None) or name)
    return tuple(sorted(found))


_RESERVED = {"request", "data", "scope", "state", "headers", "cookies", "query", "body", "socket"}


def _is_in_path(handler: BaseRouteHandler, name: str) -> bool:
    return any(re.search(rf"{{{name}:", path) for path in handler.paths)


def _reject_unknown(names: Iterable[str], known: tuple[str, ...]) -> None:
    unknown = next((name for name in names if name not in known), None)
    if unknown is None:
        return
    nearest = get_close_matches(unknown.lower().replace("-", "_"), known, 1, 0.6)
    if nearest:
        advice = f"Did you mean {nearest[0]}?"
    elif known:
        advice = f"The parameters are: {', '.join(known)}."
    else:
        advice = "This address has no query parameters."
    raise _invalid(f"There is no query parameter {_shown(unknown)} here. {advice}")


def _shown(name: str) -> str:
    return repr(name[:_SHOWN_CHARS_MAX])


def _invalid(detail: str) -> HttpRejected:
    return HttpRejected(400, "invalid", detail)
