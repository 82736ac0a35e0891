"""Validates the fields of a request and explains errors in our words. Knows no route."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from app.http.problems import MAX_ERRORS, FieldError, Problem, invalid_fields, unprocessable

FieldInfos = Mapping[str, FieldInfo]
SomeModel = TypeVar("SomeModel", bound=BaseModel)


def unknown_fields(names: Iterable[str], known: Iterable[str]) -> Problem:
    """422 for fields that a route does not have; ``known`` are the route's."""
    message = _not_known(known)
    return invalid_fields(
        [FieldError(field=_shown(name), message=message) for name in list(names)[:MAX_ERRORS]]
    )


def repeated_fields(names: Iterable[str]) -> Problem:
    """422 for fields that were sent more than once."""
    return invalid_fields(
        [
            FieldError(field=_shown(name), message="was sent more than once: send it once")
            for name in list(names)[:MAX_ERRORS]
        ]
    )


def validated(model: type[SomeModel], values: Mapping[str, object]) -> SomeModel:
    """Makes a model from values.

    Raises:
        Problem: 422 with every wrong field and the reason.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = [
            _field_error(e["loc"], e, model.model_fields)
            for e in error.errors(include_url=False, include_input=False)[:MAX_ERRORS]
        ]
        raise invalid_fields(errors) from None


def invalid_request(request: Request, error: RequestValidationError) -> Problem:
    route = request.scope.get("route")
    errors = []
    for e in error.errors()[:MAX_ERRORS]:
        place, *location = e["loc"]
        if e["type"] == "json_invalid":
            return invalid_json(e["ctx"]["error"])
        fields = fields_of(route, place) if isinstance(route, APIRoute) else {}
        errors.append(_field_error(location or [place], e, fields))
    return invalid_fields(errors)


def invalid_json(reason: str) -> Problem:
    """422 for a body that is not JSON."""
    return unprocessable("body", f"is not JSON: {reason}", "invalid_json")


def fields_of(route: APIRoute, place: str) -> FieldInfos:
    """The fields of a route's query or body, its dependencies' included."""
    fields: dict[str, FieldInfo] = {}
    for dependant in _dependants(route.dependant):
        for parameter in dependant.query_params if place == "query" else dependant.body_params:
            annotation = parameter.field_info.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                fields |= annotation.model_fields
            else:
                fields[parameter.alias] = parameter.field_info
    return fields


def _dependants(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for below in dependant.dependencies:
        yield from _dependants(below)


def _field_error(location: Sequence[int | str], error: Any, fields: FieldInfos) -> FieldError:
    path = [str(part) for part in location]
    shown = ".".join(_shown(name) for name in path) or "body"
    field = fields.get(path[0]) if path else None
    return FieldError(field=shown, message=in_our_words(error, field, fields))


def in_our_words(error: Any, field: FieldInfo | None, fields: FieldInfos) -> str:
    """Explains an error and what would be right.

    Args:
        error: one of pydantic's.
        field: the one in error; None if it is unknown.
        fields: all fields of the request.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _not_known(fields)
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("literal_error", "enum"):
        expected = context["expected"].replace("''", "empty").replace("'", "")
        return f"must be {expected}"
    if kind == "string_too_long":
        return f"must have at most {context['max_length']:,} characters"
    if kind == "too_long":
        return f"must have at most {_items(context['max_length'])}"
    if kind == "too_short":
        return f"must have at least {_items(context['min_length'])}"
    if kind == "string_unicode":
        return "must be text, without half a surrogate pair such as \\ud800"
    if kind.startswith(_NUMBER_ERRORS):
        return _explain_number(field, kind)
    return next((words for start, words in _KINDS.items() if kind.startswith(start)), _INVALID)


_KINDS = {
    "string_": "must be text",
    "bool_": "must be true or false",
    "list_": "must be a list",
    "model_": "must be a JSON object",
    "dict_": "must be a JSON object",
}
"""The words for pydantic's kinds of error that begin so."""

_INVALID = "is not valid; GET /openapi.json describes it"


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{number} items"


def _limits(field: FieldInfo | None) -> list[Any]:
    """The bounds of a number, or of those in a list."""
    if field is None or get_origin(field.annotation) is not list:
        return field.metadata if field else []
    (item,) = get_args(field.annotation)
    of_item = getattr(item, "__metadata__", ())
    return [limit for info in of_item if isinstance(info, FieldInfo) for limit in info.metadata]


_NUMBER_ERRORS = ("int_", "float_", "finite_number", "greater_than", "less_than")


def _explain_number(field: FieldInfo | None, kind: str) -> str:
    annotation = field.annotation if field else None
    whole = kind.startswith("int_") or int in (annotation, *get_args(annotation))
    message = "must be a whole number" if whole else "must be a number"
    limits = _limits(field)
    low = next((limit.ge for limit in limits if isinstance(limit, Ge)), None)
    above = next((limit.gt for limit in limits if isinstance(limit, Gt)), None)
    high = next((limit.le for limit in limits if isinstance(limit, Le)), None)
    below = next((limit.lt for limit in limits if isinstance(limit, Lt)), None)
    if low is not None and high is not None:
        return f"{message} from {_limit(low)} to {_limit(high)}"
    words = {"at least": low, "above": above, "at most": high, "below": below}
    bounds = [f"{word} {_limit(limit)}" for word, limit in words.items() if limit is not None]
    joined = " and ".join(bounds)
    return f"{message} {'of ' if joined.startswith('at ') else ''}{joined}".strip()


def _limit(value: Any) -> str:
    """A bound as people write it: 31622400 rather than 31622400.0, 0.000001 rather than 1e-06."""
    return str(int(value)) if int(value) == value else f"{value:f}".rstrip("0")


def _not_known(known: Iterable[str]) -> str:
    names = ", ".join(known)
    return (
        f"is unknown; known fields are {names}"
        if names
        else "is unknown; this endpoint takes no fields"
    )


def _shown(name: str) -> str:
    """A field name that a client sent, if it looks like one."""
    return name if re.fullmatch(r"[\w.\[\]-]{1,64}", name, re.ASCII) else "(invalid name)"
