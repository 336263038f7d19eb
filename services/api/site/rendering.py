"""Rendering: templates, and the headers of every page."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Response

from domain.shared.plurals import count_of
from projections.engine.snapshot import Freshness
from services.api.http.app_state import app_state
from services.api.http.caching import PRIVATE_NO_STORE
from services.api.http.consistency import headers_of
from services.api.http.problems import HttpRejected
from services.api.http.public_address import public_address
from services.api.http.requests import AnyRequest
from services.api.site.assets import STATIC_PATH
from services.api.site.wording import in_words
from services.api.views.initials import initial_of
from services.public_address import PublicAddress

Page = Response[str]
PRIVATE = PRIVATE_NO_STORE["Cache-Control"]

_SITE = Path(__file__).parent

# Pages load only our own files, and no inline script or style.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
}


def render_page(
    request: AnyRequest,
    template: str,
    freshness: Freshness | None = None,
    cache: str = "no-cache",
    **context: object,
) -> Page:
    headers = {**SECURITY_HEADERS, "Cache-Control": cache, **(headers_of(freshness) if freshness else {})}
    html = render_template(request, template, freshness=freshness, **context)
    return Response(html, media_type=MediaType.HTML, headers=headers)


def render_problem_page(request: AnyRequest, rejected: HttpRejected) -> Page:
    """An error as an HTML page, rendered without the database."""
    template = "not_found.html" if rejected.status == 404 else "problem.html"
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store", "Vary": "Accept", **rejected.headers}
    html = render_template(request, template, problem=rejected)
    return Response(html, status_code=rejected.status, media_type=MediaType.HTML, headers=headers)


def render_template(request: AnyRequest, template: str, **context: object) -> str:
    """Renders without a pause, so that no other request can see the address: macros are not passed the context."""
    token = _address.set(public_address(request.scope))
    try:
        shows_sample = app_state(request).shows_sample
        return templates.get_template(template).render(context, shows_sample=shows_sample)
    finally:
        _address.reset(token)


def _prefix() -> str:
    """What a template writes before each path of this site."""
    return _address.get().prefix


def _base() -> str:
    """What a template writes before a path that crawlers read."""
    return _address.get().base


def _percent(share: Decimal) -> str:
    """Whole per cent. A share between 0 and 1 is never rounded to 0% or 100%."""
    if 0 < share < Decimal("0.005"):
        return "<1%"
    if Decimal("0.995") <= share < 1:
        return ">99%"
    return f"{(share * 100).quantize(Decimal(1), ROUND_HALF_UP)}%"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _number(count: int) -> str:
    return f"{count:,}"


templates = Environment(
    loader=FileSystemLoader(_SITE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_address: ContextVar[PublicAddress] = ContextVar("public address")
templates.globals |= {"static": STATIC_PATH, "prefix": _prefix, "base": _base}
templates.filters |= {
    "percent": _percent,
    "day": _day,
    "number": _number,
    "count_of": count_of,
    "in_words": in_words,
    "initial": initial_of,
}
