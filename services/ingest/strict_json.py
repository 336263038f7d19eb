"""Strict JSON: rejects repeated fields and deep nesting, which msgspec alone does not, with one type of error."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

D = TypeVar("D")


class Malformed(ValueError):
    """The message says what is wrong and where."""


def decode(body: bytes, decoder: msgspec.json.Decoder[D]) -> D:
    """Raises Malformed, also for a field that is given twice in one object and for nesting that is too deep."""
    try:
        json.loads(body.decode(), object_pairs_hook=_reject_repeated, parse_int=len, parse_float=len)
        return decoder.decode(body)
    except Malformed:
        raise
    except msgspec.DecodeError as error:
        raise Malformed(f"{error}.") from None
    except UnicodeDecodeError:
        raise Malformed("This is not UTF-8.") from None
    except RecursionError:
        raise Malformed("This is nested too deeply.") from None
    except ValueError as error:
        raise Malformed(f"This is not JSON: {error}.") from None


def _reject_repeated(pairs: list[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise Malformed(f"The field {key[:60]!r} is given twice in one object.")
        seen.add(key)
