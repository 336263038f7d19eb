"""Feeds of flips for feed readers: Atom 1.0 (RFC 4287) and JSON Feed 1.1 (jsonfeed.org)."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID, uuid5
from xml.etree import ElementTree as ET

from litestar import Response, get
from msgspec import Struct, field

from projections.flips.reads import FlipDetails
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.consistency import headers_of
from services.api.http.documented import FRESHNESS
from services.api.http.problems import problem_responses
from services.api.http.public_address import public_address
from services.api.http.requests import AnyRequest
from services.api.routes.flips import ToolFilter
from services.api.views.flips import FlipResponse, present_flip, read_newest
from services.public_address import PublicAddress

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


@get(
    "/v1/verdicts/flips.atom",
    guards=[open_to_all],
    media_type=ATOM,
    responses=problem_responses(404),
    response_headers=FRESHNESS,
)
async def atom_feed(request: AnyRequest, tool: ToolFilter = None) -> Response[bytes]:
    """The newest fifty flips as an Atom feed, of all tools or of one."""
    flips, freshness = await read_newest(request, _ENTRIES_MAX, tool)
    feed = _atom(public_address(request.scope), app_state(request).installation, tool, flips)
    return Response(feed, media_type=ATOM, headers=headers_of(freshness))


@get(
    "/v1/verdicts/flips.json",
    guards=[open_to_all],
    media_type=JSON_FEED,
    responses=problem_responses(404),
    response_headers=FRESHNESS,
)
async def json_feed(request: AnyRequest, tool: ToolFilter = None) -> Response[JsonFeed]:
    """The same as a JSON Feed; ``_shiplog`` has each flip in the form of `/v1/verdicts/flips`."""
    flips, freshness = await read_newest(request, _ENTRIES_MAX, tool)
    address = public_address(request.scope)
    feed = JsonFeed(
        "https://jsonfeed.org/version/1.1",
        _TITLE,
        _SUBTITLE,
        _home(address),
        _own(address, "flips.json", tool),
        [_item(address, each) for each in flips],
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


def _item(address: PublicAddress, details: FlipDetails) -> FeedItem:
    at = details.flip.order.recorded_at
    return FeedItem(
        _id(details), _page(address, details), _title(details), _content(details), at, present_flip(details)
    )


def _atom(address: PublicAddress, installation: UUID, tool: str | None, flips: list[FlipDetails]) -> bytes:
    updated = _time(flips[0]) if flips else _UPDATED_IF_EMPTY
    feed = ET.Element("feed", xmlns=_NAMESPACE)
    _add(feed, "id", uuid5(installation, f"flips of {tool or 'all tools'}").urn)
    _add(feed, "title", _TITLE)
    _add(feed, "subtitle", _SUBTITLE)
    _add(feed, "updated", updated)
    _add(ET.SubElement(feed, "author"), "name", "Shiplog")
    ET.SubElement(
        feed, "link", rel="self", type="application/atom+xml", href=_own(address, "flips.atom", tool)
    )
    ET.SubElement(feed, "link", rel="alternate", type="text/html", href=_home(address))
    for each in flips:
        _add_entry(feed, address, each)
    xml: bytes = ET.tostring(feed, encoding="utf-8", xml_declaration=True)
    return xml


def _add_entry(feed: ET.Element, address: PublicAddress, details: FlipDetails) -> None:
    entry = ET.SubElement(feed, "entry")
    _add(entry, "id", _id(details))
    _add(entry, "title", _title(details))
    _add(entry, "updated", _time(details))
    ET.SubElement(entry, "link", rel="alternate", type="text/html", href=_page(address, details))
    _add(entry, "content", _content(details), type="text")


def _add(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = _NOT_ALLOWED_IN_XML.sub("\ufffd", text)


def _time(details: FlipDetails) -> str:
    return details.flip.order.recorded_at.isoformat().replace("+00:00", "Z")


def _home(address: PublicAddress) -> str:
    return address.link("/flips")


def _own(address: PublicAddress, name: str, tool: str | None) -> str:
    return address.link(f"/v1/verdicts/{name}{f'?tool={tool}' if tool else ''}")


def _page(address: PublicAddress, details: FlipDetails) -> str:
    return address.link(f"/tools/{details.slug}")
