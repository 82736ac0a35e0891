"""What the dialects of other tools' clients share: lenient requests, several texts at once, errors.

Their clients send much that means nothing here, which is ignored, and know errors of one shape
each. Knows neither dialect.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict

from app.http.bodies import read_json
from app.http.problems import Problem
from app.http.validation import validated
from app.routes.texts import Opened, Texts, derived_seed, draw_seed
from app.schemas.common import MAX_SEED, Fields
from app.schemas.texts import MAX_BODY, SampleQuery
from models.checkpoints.reference import Reference

DEFAULT_LENGTH = 1000
MAX_LENGTH = 1_000_000
LEAST_TEMPERATURE = 0.01
"""What is above 0 and below is taken for it."""

LEAST_TOP_P = 1e-6
"""Clients say 0 where they mean the likeliest alone."""

ForeignJson = dict[str, Any]
"""An answer whose members the documentation of another tool lists."""

SomeRequest = TypeVar("SomeRequest", bound=BaseModel)
Item = TypeVar("Item")


class Lenient(Fields):
    """Fields that mean something here; others are ignored, and an empty one is absent."""

    model_config = ConfigDict(extra="ignore")


async def received(request: Request, fields: type[SomeRequest]) -> SomeRequest:
    """The body as fields, whatever content type is on it. Raises Problem."""
    return validated(fields, await read_json(request, MAX_BODY))


def warmth(temperature: float) -> float:
    return max(temperature, LEAST_TEMPERATURE) if temperature else 0.0


def sample_query(*, model: str, seed: int | None, **fields: Any) -> SampleQuery:
    """What a dialect's fields ask for, checked by the same rules as ``/sample``.

    The prime is echoed: it comes back as the model read it, and the dialect decides who sees it.

    Raises:
        UnknownModel: the model's name cannot be one.
        Problem: 422 for a field out of its range.
    """
    seed = None if seed is None else seed % (MAX_SEED + 1)
    asked = {"model": str(Reference.from_client(model)), "seed": seed, "echo": True, **fields}
    return validated(SampleQuery, asked)


async def open_texts(texts: Texts, fields: SampleQuery, count: int) -> list[Opened]:
    """Starts texts whose seeds follow from the first's; whoever opened them closes their readers.

    Raises:
        Exception: as ``Texts.open``; none is open then.
    """
    seed = draw_seed() if fields.seed is None else fields.seed
    opened: list[Opened] = []
    try:
        for index in range(count):
            one = fields.model_copy(update={"seed": derived_seed(seed, index)})
            opened.append(await texts.open(one))
    except BaseException:
        close(opened)
        raise
    return opened


def close(opened: Sequence[Opened]) -> None:
    for one in opened:
        one.reader.close()


def failure(opened: Opened) -> Problem | None:
    """Why a text that has ended is not whole."""
    match opened.reader.finish_reason:
        case "shutdown":
            return Problem(
                503, "shutting_down", "the server is shutting down", headers={"Retry-After": "5"}
            )
        case "error":
            return Problem(
                422, "not_finite", "the network's output overflowed here: try another prompt"
            )
    return None


async def merged(
    iterators: Sequence[AsyncIterator[Item]],
) -> AsyncGenerator[tuple[int, Item | None], None]:
    """What several iterators give as it comes, with whose it is; None at the end of each."""
    coming = {asyncio.ensure_future(anext(one)): index for index, one in enumerate(iterators)}
    try:
        while coming:
            done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                index = coming.pop(future)
                try:
                    item = future.result()
                except StopAsyncIteration:
                    yield index, None
                    continue
                coming[asyncio.ensure_future(anext(iterators[index]))] = index
                yield index, item
    finally:
        for future in coming:
            future.cancel()


def said(problem: Problem, names: Mapping[str, str]) -> str:
    """A problem in one sentence, with the names that a dialect has for our fields."""
    if not problem.errors:
        return str(problem.detail)
    errors = (f"{names.get(error.field, error.field)} {error.message}" for error in problem.errors)
    return "; ".join(errors)


def status(problem: Problem) -> int:
    """Both dialects say 400 of what can't be done as it was asked."""
    return 400 if problem.status_code in (415, 422) else problem.status_code
