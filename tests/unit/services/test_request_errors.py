"""Errors about requests are written for people: every constrained field says what to write, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from msgspec import inspect

from domain.rulebooks.rulebook import Rulebook
from domain.shared.requirements import find_mistake, requirement_of, type_at
from services.api.app import ROUTES
from services.ingest.ndjson_votes import VoteLine
from tests.support.stage import INTERNALS, LIBRARY_WORDS

HANDLERS = [handler for handler in ROUTES if isinstance(handler, HTTPRouteHandler)]
BODIES = {
    str(handler.parsed_data_field.annotation.__name__): handler.parsed_data_field.annotation
    for handler in HANDLERS
    if handler.parsed_data_field is not None
} | {"VoteLine": VoteLine, "Rulebook": Rulebook}
# Values of every JSON type, and texts and numbers outside of every bound.
VALUES: list[object] = [
    None, True, -1, 10**12, 2**70, 1.5, "", "\n", "A b\x07", "x" * 10_000, "2026-03-01", "{", [], [None], ["\x07"] * 2_000, [[1]], {},
    {"\n": 1}, {"a": -1}, {"a": None},
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_field_of_every_body_says_what_to_write(body: Any) -> None:
    provoked = 0
    for path in fields_of(inspect.type_info(body)):
        for value in VALUES:
            sent = nest(path, value)
            try:
                msgspec.convert(sent, body)
            except msgspec.ValidationError as error:
                mistake = str(find_mistake(error, body))
                assert not [word for word in INTERNALS + LIBRARY_WORDS if word in mistake], (sent, mistake)
                assert "another value" not in mistake, (sent, mistake)
                provoked += 1
    assert provoked


@pytest.mark.parametrize("handler", HANDLERS, ids=str)
def test_every_parameter_has_a_requirement_in_words(handler: HTTPRouteHandler) -> None:
    for name, annotation in handler.signature_model.__annotations__.items():
        if name not in ("request", "data"):
            assert requirement_of(inspect.type_info(annotation)) not in ("", "another value")


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    weights: dict[str, int] = {}


class Form(msgspec.Struct, forbid_unknown_fields=True):
    entry: Entry
    entries: list[Entry] = []


@pytest.mark.parametrize(
    ("sent", "mistake"),
    [
        ({}, "entry is missing. It is a JSON object with name, weights."),
        ({"entry": {}}, "entry.name is missing. It is text."),
        ({"entry": {"name": 5}}, "entry.name: text."),
        ({"entry": {"name": "a", "nam": 5}}, "entry.nam is not a field here. The fields are: name, weights."),
        ({"entry": {"name": "a", "weights": {"b": "c"}}}, "entry.weights[...]: a whole number."),
        ({"entry": {"name": "a"}, "entries": [{"name": 1}]}, "entries[0].name: text."),
        ([], "Send a JSON object with entry, entries."),
    ],
)
def test_a_mistake_names_the_path_of_its_field(sent: object, mistake: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(sent, Form)
    assert str(find_mistake(error.value, Form)) == mistake


def test_the_type_of_a_path() -> None:
    assert isinstance(type_at("entries[7].weights[...]", Form), inspect.IntType)
    assert type_at("entries[7].nothing.further", Form) is None


def fields_of(type: inspect.Type, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value in the type, the whole value first."""
    yield path
    match type:
        case inspect.StructType(fields=fields):
            for each in fields:
                yield from fields_of(each.type, (*path, each.encode_name))
        case inspect.UnionType(types=types):
            for each_type in types:
                yield from fields_of(each_type, path)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            yield from fields_of(item, (*path, 0))


def nest(path: tuple[str | int, ...], value: object) -> object:
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [value]
    return value
