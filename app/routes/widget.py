"""Whether a page may draw names: what the widget and its owner cannot tell otherwise.

A browser hides from a page why it may not read an answer. Knows no model.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.access.hosts import name_of
from app.access.origins import may_sample
from app.http.queries import known_query
from app.routes.services import ServicesDep
from app.schemas.models import WidgetAccess, WidgetQuery

router = APIRouter(tags=["sampling"], dependencies=[Depends(known_query)])


@router.get("/widget/access", summary="Check whether the pages of an origin may draw names")
def widget_access(
    query: Annotated[WidgetQuery, Query()],
    request: Request,
    response: Response,
    services: ServicesDep,
) -> WidgetAccess:
    """Of the origin in the query, else of the page that asks: any page may."""
    settings = services.settings
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Vary"] = "Origin"
    host = request.headers.get("host", "")
    origin = (query.origin or request.headers.get("origin") or f"{request.url.scheme}://{host}")[
        :300
    ].lower()
    authority = origin.partition("://")[2]
    is_own = authority == host.lower() or name_of(authority) in settings.hosts
    needs_key = bool(settings.api_keys.get_secret_value()) and settings.public != "sample"
    return WidgetAccess(
        origin=origin,
        allowed=is_own or may_sample(origin, settings.cors_origins),
        needs_key=needs_key,
    )
