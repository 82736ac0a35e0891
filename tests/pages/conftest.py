"""Fixtures: a browser, a server with small models, and windows that keep complaints."""

from tests.browsing import browser, client, toys, window

__all__ = ["browser", "client", "toys", "window"]
