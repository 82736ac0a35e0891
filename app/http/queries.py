"""Reads a query's fields and refuses unknown and repeated ones. Knows no route."""

from collections.abc import Collection
from typing import get_origin

from fastapi import Request
from fastapi.routing import APIRoute

from app.http.validation import fields_of, repeated_fields, unknown_fields


def query_fields(
    request: Request, known: Collection[str], repeatable: Collection[str] = ()
) -> dict[str, str]:
    """The query's fields; the last value of a repeatable one.

    Raises:
        Problem: 422 for an unknown or a repeated field.
    """
    items = request.query_params.multi_items()
    fields = dict(items)
    if unknown := [name for name in fields if name not in known]:
        raise unknown_fields(unknown, known)
    names = [name for name, _ in items]
    if twice := [n for n in fields if names.count(n) > 1 and n not in repeatable]:
        raise repeated_fields(twice)
    return fields


async def known_query(request: Request) -> None:
    """A dependency of routes: answers a query field that the route does not have with 422."""
    route = request.scope["route"]
    fields = fields_of(route, "query") if isinstance(route, APIRoute) else {}
    lists = [name for name, field in fields.items() if get_origin(field.annotation) is list]
    query_fields(request, fields, lists)
