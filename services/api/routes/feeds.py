"""Feeds of flips, for whoever reads with a feed reader: Atom 1.0 (RFC 4287) and JSON Feed 1.1 (jsonfeed.org)."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import uuid5
from xml.etree import ElementTree as ET

from litestar import Response, get
from msgspec import Struct, field

from projections.flips.reads import FlipDetails
from services.api.http.auth import open_to_all
from services.api.http.consistency import headers_of
from services.api.http.problems import problem_responses
from services.api.http.requests import AnyRequest
from services.api.routes.flips import OfTool
from services.api.views.flips import FlipShown, read_newest, show

ATOM, JSON_FEED = "application/atom+xml; charset=utf-8", "application/feed+json"

_ENTRIES = 50
_TITLE, _SUBTITLE = (
    "Verdicts that changed · Shiplog",
    "Ship or skip? Each verdict that flipped, and what made it.",
)
_BEFORE_ANY = "1970-01-01T00:00:00Z"
_NAMESPACE = "http://www.w3.org/2005/Atom"
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class FeedItem(Struct, frozen=True):
    id: str
    url: str
    title: str
    content_text: str
    date_published: datetime
    shiplog: FlipShown = field(name="_shiplog")


class JsonFeed(Struct, frozen=True):
    version: str
    title: str
    description: str
    home_page_url: str
    feed_url: str
    items: list[FeedItem]


@get("/v1/verdicts/flips.atom", guards=[open_to_all], media_type=ATOM, responses=problem_responses(404))
async def atom_feed(request: AnyRequest, tool: OfTool = None) -> Response[bytes]:
    """The newest fifty flips as an Atom feed, of all tools or of one."""
    told, freshness = await read_newest(request, _ENTRIES, tool)
    return Response(_atom(request, told), media_type=ATOM, headers=headers_of(freshness))


@get("/v1/verdicts/flips.json", guards=[open_to_all], media_type=JSON_FEED, responses=problem_responses(404))
async def json_feed(request: AnyRequest, tool: OfTool = None) -> Response[JsonFeed]:
    """The same as a JSON Feed; ``_shiplog`` has each flip as the list of flips shows it."""
    told, freshness = await read_newest(request, _ENTRIES, tool)
    feed = JsonFeed(
        "https://jsonfeed.org/version/1.1",
        _TITLE,
        _SUBTITLE,
        _home(request),
        str(request.url),
        [_item(request, each) for each in told],
    )
    return Response(feed, media_type=JSON_FEED, headers=headers_of(freshness))


def _title(told: FlipDetails) -> str:
    return f"{told.name}: {told.flip.before} → {told.flip.after}"


def _content(told: FlipDetails) -> str:
    flip = told.flip
    return f"The verdict was {flip.before} and is {flip.after} from log position {flip.place.position} on. {told.sentence}"


def _id(told: FlipDetails) -> str:
    """Of this flip alone, wherever the site is moved to: made of the event's id and the tool's slug."""
    return uuid5(told.id, told.slug).urn


def _item(request: AnyRequest, told: FlipDetails) -> FeedItem:
    at = told.flip.place.recorded_at
    return FeedItem(_id(told), _page(request, told), _title(told), _content(told), at, show(told))


def _atom(request: AnyRequest, told: list[FlipDetails]) -> bytes:
    updated = _written(told[0]) if told else _BEFORE_ANY
    feed = ET.Element("feed", xmlns=_NAMESPACE)
    _add(feed, "id", str(request.url))
    _add(feed, "title", _TITLE)
    _add(feed, "subtitle", _SUBTITLE)
    _add(feed, "updated", updated)
    _add(ET.SubElement(feed, "author"), "name", "Shiplog")
    ET.SubElement(feed, "link", rel="self", type="application/atom+xml", href=str(request.url))
    ET.SubElement(feed, "link", rel="alternate", type="text/html", href=_home(request))
    for each in told:
        _add_entry(feed, request, each)
    written: bytes = ET.tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _add_entry(feed: ET.Element, request: AnyRequest, told: FlipDetails) -> None:
    entry = ET.SubElement(feed, "entry")
    _add(entry, "id", _id(told))
    _add(entry, "title", _title(told))
    _add(entry, "updated", _written(told))
    ET.SubElement(entry, "link", rel="alternate", type="text/html", href=_page(request, told))
    _add(entry, "content", _content(told), type="text")


def _add(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = _NOT_IN_XML.sub("\ufffd", text)


def _written(told: FlipDetails) -> str:
    return told.flip.place.recorded_at.isoformat().replace("+00:00", "Z")


def _home(request: AnyRequest) -> str:
    return f"{request.base_url}flips"


def _page(request: AnyRequest, told: FlipDetails) -> str:
    return f"{request.base_url}tools/{told.slug}"
