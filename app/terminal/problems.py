"""How the terminal words what the service refuses: in commands and options, not in HTTP.

Goes by a problem's ``code`` and ``errors`` (docs/http-api.md), which are stable. Knows no request.
"""

import re
from collections.abc import Mapping
from typing import Any

from app.supervisor.installation import COMMAND

_ANOTHER_VERSION = (
    "the service does not know this request; check the names and the URL, or update the service"
)

WORDS = {
    "body_too_large": "the file is larger than the service's CHARLOOM_MAX_UPLOAD_BYTES allows",
    "insufficient_scope": "the API key lacks the scope that this command needs",
    "method_not_allowed": _ANOTHER_VERSION,
    "missing_key": "the service needs an API key; set CHARLOOM_API_KEY, or enter it with --key",
    "no_corpus": "the service needs the text that the model was trained on, and does not have it, "
    "or it is too large",
    "no_models": f"there are no models yet; {COMMAND} train FILE --model NAME trains one",
    "not_acceptable": _ANOTHER_VERSION,
    "state_of_another_checkpoint": "the model was trained further meanwhile",
    "unknown_endpoint": _ANOTHER_VERSION,
    "unknown_host": "the service does not accept the host name in this URL; use its IP address, or "
    "add the name to its CHARLOOM_HOSTS",
    "unknown_job": f"job not found; {COMMAND} jobs lists all jobs",
    "unknown_model": f"model not found; {COMMAND} models lists all models",
    "unsupported_media_type": _ANOTHER_VERSION,
}
"""By code. Every other problem keeps the service's own words."""

_SUBJECTS = {
    "body": "the file",
    "cells": "--cell",
    "corpus": "",
    "models": "--model",
    "name": "--rename",
    "text": "the text",
}
"""Fields that are not options of the same name."""

_ITEMS = re.compile(r"must have at most (\d+) items")
"""Of a list, which in a terminal is an option that is given several times."""

_ASSIGNED = re.compile(r"\b(tokens|unknown)=(\w+)")
"""What the service's own words advise to set."""

_BOUND = re.compile(r"\b(max)_(length)$")
"""A field that another one's bound is, in ``/names``."""

_RESUME = re.compile(r"POST /jobs/(\w+)/resume")


def explained(problem: Mapping[str, Any]) -> str:
    """Returns what is wrong, in one sentence. Raises KeyError: it is not a problem."""
    detail = str(problem["detail"])
    errors = [(error["field"], error["message"]) for error in problem.get("errors", ())]
    words = WORDS.get(problem.get("code", ""))
    if words is not None:
        # Such as a model to continue from.
        options = [_option(field) for field, _ in errors if field != "model"]
        return ": ".join([*options, words])
    if errors:
        detail = "; ".join(_about(field, message) for field, message in errors)
    return in_options(detail)


def in_options(text: str) -> str:
    """Returns a text of the service with its advice, such as tokens=bytes, as options."""
    return _RESUME.sub(rf"{COMMAND} jobs \1 --resume", _ASSIGNED.sub(r"--\1 \2", text))


def _about(field: str, message: str) -> str:
    message = _ITEMS.sub(r"may be given at most \1 times", message)
    message = _BOUND.sub(r"--\1-\2", message)
    message = message.replace("must be whole numbers", "must be a whole number")
    if field in _SUBJECTS:
        subject = _SUBJECTS[field]
    else:
        is_option = "_" in field or message.startswith(("must ", "may ", "is missing"))
        subject = _option(field) if is_option else field
    return f"{subject} {message}".strip()


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")
