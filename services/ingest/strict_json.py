"""Strict JSON: rejects repeated fields and deep nesting, which msgspec alone does not, with one type of error."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

from domain.shared.requirements import find_mistake

D = TypeVar("D")
# Both are text that Python's decoder accepts.
_NOT_STORABLE = (
    "This is not JSON: NaN, Infinity and half of a surrogate pair (\\ud800 to \\udfff) are not allowed."
)


class Malformed(ValueError):
    """The message says what is wrong and where."""


def decode(body: bytes, decoder: msgspec.json.Decoder[D]) -> D:
    """Raises Malformed, also for a field that is given twice in one object and for nesting that is too deep."""
    try:
        json.loads(body.decode(), object_pairs_hook=_reject_repeated, parse_int=len, parse_float=len)
        return decoder.decode(body)
    except Malformed:
        raise
    except msgspec.ValidationError as error:
        raise Malformed(str(find_mistake(error, decoder.type))) from None
    except msgspec.DecodeError:
        raise Malformed(_NOT_STORABLE) from None
    except UnicodeDecodeError:
        raise Malformed("This is not UTF-8.") from None
    except RecursionError:
        raise Malformed("This is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise Malformed(_not_json(error)) from None


def _not_json(error: json.JSONDecodeError) -> str:
    if not error.doc.strip():
        return "This is empty. Send JSON."
    return f"This is not JSON. The mistake is at line {error.lineno}, column {error.colno}."


def _reject_repeated(pairs: list[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise Malformed(f"The field {key[:60]!r} is given twice in one object.")
        seen.add(key)
