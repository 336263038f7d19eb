"""Rendering: templates, the headers of every page, and the page of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Request, Response
from litestar.openapi.plugins import SwaggerRenderPlugin

from projections.engine.snapshot import Freshness
from services.api.http.caching import PRIVATE_NO_STORE
from services.api.http.consistency import headers_of
from services.api.http.problems import HttpRejected
from services.api.http.requests import AnyRequest
from services.api.site.assets import STATIC_PATH

Page = Response[str]
PRIVATE = PRIVATE_NO_STORE["Cache-Control"]

_SITE = Path(__file__).parent

# Pages load only our own files, and no inline script or style.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
}


def render_page(
    template: str, freshness: Freshness | None = None, cache: str = "no-cache", **context: object
) -> Page:
    headers = {**_HEADERS, "Cache-Control": cache, **(headers_of(freshness) if freshness else {})}
    html = _render(template, freshness=freshness, **context)
    return Response(html, media_type=MediaType.HTML, headers=headers)


def render_problem_page(_: AnyRequest, rejected: HttpRejected) -> Page:
    """An error as an HTML page, rendered without the database."""
    template = "not_found.html" if rejected.status == 404 else "problem.html"
    headers = {**_HEADERS, "Cache-Control": "no-store", "Vary": "Accept", **rejected.headers}
    html = _render(template, problem=rejected)
    return Response(html, status_code=rejected.status, media_type=MediaType.HTML, headers=headers)


def _render(template: str, **context: object) -> str:
    return _templates.get_template(template).render(context)


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


_templates = Environment(
    loader=FileSystemLoader(_SITE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["static"] = STATIC_PATH
_templates.filters |= {"percent": _percent, "day": _day, "number": _number}


class OwnSwagger(SwaggerRenderPlugin):
    """Swagger UI from our own files, in a page without inline script."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: Mapping[str, Any]) -> bytes:
        return _render("api_docs.html", schema=self.get_openapi_json_route(request)).encode()


OPENAPI_RENDER = OwnSwagger(
    js_url=f"{STATIC_PATH}/vendor/swagger-ui-bundle.js",
    css_url=f"{STATIC_PATH}/vendor/swagger-ui.css",
    standalone_preset_js_url=f"{STATIC_PATH}/vendor/swagger-ui-bundle.js",
    favicon=f'<link rel="icon" type="image/svg+xml" href="{STATIC_PATH}/favicon.svg">',
)
