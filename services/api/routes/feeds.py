"""Feeds of flips for feed readers: Atom 1.0 (RFC 4287) and JSON Feed 1.1 (jsonfeed.org)."""

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
from services.api.routes.flips import ToolFilter
from services.api.views.flips import FlipResponse, present_flip, read_newest

ATOM, JSON_FEED = "application/atom+xml; charset=utf-8", "application/feed+json"

_ENTRIES_MAX = 50
_TITLE, _SUBTITLE = (
    "Verdicts that changed · Shiplog",
    "Ship or skip? Each verdict that flipped, and what made it.",
)
_UPDATED_IF_EMPTY = "1970-01-01T00:00:00Z"
_NAMESPACE = "http://www.w3.org/2005/Atom"
_NOT_ALLOWED_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class FeedItem(Struct, frozen=True):
    id: str
    url: str
    title: str
    content_text: str
    date_published: datetime
    shiplog: FlipResponse = field(name="_shiplog")


class JsonFeed(Struct, frozen=True):
    version: str
    title: str
    description: str
    home_page_url: str
    feed_url: str
    items: list[FeedItem]


@get("/v1/verdicts/flips.atom", guards=[open_to_all], media_type=ATOM, responses=problem_responses(404))
async def atom_feed(request: AnyRequest, tool: ToolFilter = None) -> Response[bytes]:
    """The newest fifty flips as an Atom feed, of all tools or of one."""
    flips, freshness = await read_newest(request, _ENTRIES_MAX, tool)
    return Response(_atom(request, flips), media_type=ATOM, headers=headers_of(freshness))


@get("/v1/verdicts/flips.json", guards=[open_to_all], media_type=JSON_FEED, responses=problem_responses(404))
async def json_feed(request: AnyRequest, tool: ToolFilter = None) -> Response[JsonFeed]:
    """The same as a JSON Feed; ``_shiplog`` has each flip in the form of `/v1/verdicts/flips`."""
    flips, freshness = await read_newest(request, _ENTRIES_MAX, tool)
    feed = JsonFeed(
        "https://jsonfeed.org/version/1.1",
        _TITLE,
        _SUBTITLE,
        _home(request),
        str(request.url),
        [_item(request, each) for each in flips],
    )
    return Response(feed, media_type=JSON_FEED, headers=headers_of(freshness))


def _title(details: FlipDetails) -> str:
    return f"{details.name}: {details.flip.before} → {details.flip.after}"


def _content(details: FlipDetails) -> str:
    flip = details.flip
    since = f"{flip.order.recorded_at.day} {flip.order.recorded_at:%B %Y, %H:%M} UTC"
    return f"The verdict was {flip.before} and is {flip.after} since {since}. {details.sentence} (Log position {flip.order.position}.)"


def _id(details: FlipDetails) -> str:
    """A UUIDv5 of the event's id and the tool's slug: unique to the flip, and the same on every host."""
    return uuid5(details.id, details.slug).urn


def _item(request: AnyRequest, details: FlipDetails) -> FeedItem:
    at = details.flip.order.recorded_at
    return FeedItem(
        _id(details), _page(request, details), _title(details), _content(details), at, present_flip(details)
    )


def _atom(request: AnyRequest, flips: list[FlipDetails]) -> bytes:
    updated = _time(flips[0]) if flips else _UPDATED_IF_EMPTY
    feed = ET.Element("feed", xmlns=_NAMESPACE)
    _add(feed, "id", str(request.url))
    _add(feed, "title", _TITLE)
    _add(feed, "subtitle", _SUBTITLE)
    _add(feed, "updated", updated)
    _add(ET.SubElement(feed, "author"), "name", "Shiplog")
    ET.SubElement(feed, "link", rel="self", type="application/atom+xml", href=str(request.url))
    ET.SubElement(feed, "link", rel="alternate", type="text/html", href=_home(request))
    for each in flips:
        _add_entry(feed, request, each)
    xml: bytes = ET.tostring(feed, encoding="utf-8", xml_declaration=True)
    return xml


def _add_entry(feed: ET.Element, request: AnyRequest, details: FlipDetails) -> None:
    entry = ET.SubElement(feed, "entry")
    _add(entry, "id", _id(details))
    _add(entry, "title", _title(details))
    _add(entry, "updated", _time(details))
    ET.SubElement(entry, "link", rel="alternate", type="text/html", href=_page(request, details))
    _add(entry, "content", _content(details), type="text")


def _add(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = _NOT_ALLOWED_IN_XML.sub("\ufffd", text)


def _time(details: FlipDetails) -> str:
    return details.flip.order.recorded_at.isoformat().replace("+00:00", "Z")


def _home(request: AnyRequest) -> str:
    return f"{request.base_url}flips"


def _page(request: AnyRequest, details: FlipDetails) -> str:
    return f"{request.base_url}tools/{details.slug}"
