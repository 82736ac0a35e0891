"""The endpoints that the application has."""

from fastapi.routing import iter_route_contexts

from app.main import create_app
from app.settings import ServerSettings


def declared() -> set[str]:
    """Every method and path that the application has."""
    app = create_app(ServerSettings())
    return {
        f"{method} {context.path}"
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
        # FastAPI adds it to its own routes; all others have it too (app.http.bodiless).
        if method != "HEAD"
    }
