"""The endpoints that the application has."""

from fastapi.routing import iter_route_contexts

from app.access.table import VIEWS
from app.main import create_app
from app.settings import ServerSettings


def declared() -> set[str]:
    """Every method and path that the application has, but for the pages."""
    app = create_app(ServerSettings())
    found = set()
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            if not (context.path in VIEWS and method == "HEAD") and method != "HEAD":
                found.add(f"{method} {context.path}")
    return found
