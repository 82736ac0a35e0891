"""A text for each of many primes: one request, whose texts are JSON lines once they have ended.

They share batches like any texts, and each is the text of a request of its own with that prime and
its seed. Knows no endpoint.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import Request
from fastapi.responses import Response

from app.http.negotiation import NDJSON, accepted
from app.http.problems import unprocessable
from app.http.streaming import ClosingResponse
from app.routes.services import Services, writing_for
from app.routes.texts import MAX_LISTED, Opened, Texts
from app.routes.together import MAX_WRITTEN, close, merged, open_all, several
from app.routes.whole import Whole
from app.schemas.texts import SampleRequest


async def lines(request: Request, services: Services, fields: SampleRequest) -> Response:
    """The answer to a request with ``primes``. Raises Problem."""
    accepted(request, (NDJSON,))
    primes = fields.primes or []
    _check(fields, len(primes))
    caller = writing_for(request, services)
    names = [f"primes.{index}" for index in range(len(primes))]
    queries = several(fields, primes)
    opened = await open_all(services.texts, queries, caller, names=names, keep_state=True)
    return ClosingResponse(
        _lines(services.texts, opened), NDJSON, opened[0].headers, lambda: close(opened)
    )


def _check(fields: SampleRequest, count: int) -> None:
    if fields.prime or fields.continue_from is not None:
        raise unprocessable("primes", "must be sent without prime and continue_from")
    each = count * (1 + fields.probabilities)
    most = (MAX_LISTED if fields.probabilities else MAX_WRITTEN) // each
    if fields.length > most:
        raise unprocessable("length", f"must be at most {most} with so many primes")


async def _lines(texts: Texts, opened: list[Opened]) -> AsyncIterator[bytes]:
    wholes = [Whole(texts, one) for one in opened]
    async with aclosing(merged([aiter(one.reader) for one in opened])) as coming:
        async for index, piece in coming:
            if piece is not None:
                await wholes[index].add(piece)
                continue
            for part in await wholes[index].to_json({"index": index}):
                yield part
            yield b"\n"
