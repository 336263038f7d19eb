"""Error messages for rulebooks: which field is wrong, and what to write there."""

from __future__ import annotations

import re

from msgspec import inspect

_PATH = re.compile(r"(?P<problem>.*?)(?: - at (?:`key` in )?`\$\.?(?P<field>.*)`)?\Z", re.DOTALL)
_FIELD_PROBLEM = re.compile(r"Object (missing required|contains unknown) field `(.*)`\Z")


def explain_error(error: Exception, book: type) -> str:
    """The message of a msgspec.ValidationError raised by converting to ``book``, or the text of any other error."""
    found = _PATH.match(str(error))
    assert found is not None
    problem, field = found["problem"], found["field"] or ""
    field_problem = _FIELD_PROBLEM.match(problem)
    if field_problem:
        return _field_message(field_problem[1], field, field_problem[2], book)
    if not field:
        return problem
    return f"`{field}`: {_advice(problem, type_at(field, book))}"


def _field_message(problem: str, parent: str, name: str, book: type) -> str:
    path = f"{parent}.{name}" if parent else name
    if problem.startswith("missing"):
        return f"`{path}` is missing. Add it."
    field_type = type_at(parent, book)
    fields = (
        [each.encode_name for each in field_type.fields] if isinstance(field_type, inspect.StructType) else []
    )
    return f"`{path}` is not a field. The fields are: {', '.join(fields)}."


def _advice(problem: str, field_type: inspect.Type | None) -> str:
    if isinstance(field_type, inspect.LiteralType):
        return "write " + " or ".join(f'"{value}"' for value in field_type.values) + "."
    if "a-z0-9" in problem:
        return "write lower-case letters and digits, with single hyphens between them."
    if "matching regex" in problem:
        return "write text without control characters."
    if problem.startswith("Expected `str") and "got" in problem:
        return "write it as text, in quotes."
    return f"{problem[:1].lower()}{problem[1:]}."


def type_at(field: str, book: type) -> inspect.Type | None:
    """The type of a field such as ``panel.weight`` or ``comparison[0]``."""
    field_type: inspect.Type | None = inspect.type_info(book)
    for name in re.findall(r"[a-z_]+|\[", field):
        match field_type:
            case inspect.StructType(fields=fields):
                field_type = next((each.type for each in fields if each.encode_name == name), None)
            case inspect.VarTupleType(item_type=item):
                field_type = item
            case _:
                return field_type
    return field_type
