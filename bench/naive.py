"""The plain ways that a tutorial shows: what ours is measured against."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import torch
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from models.config import NetworkConfig
from models.training.network import CharNetwork


def network_of(
    hidden_size: int, num_layers: int = 2, vocabulary_size: int = 100, seed: int = 0
) -> CharNetwork:
    """An untrained LSTM: what it says is noise, and takes as long."""
    torch.manual_seed(seed)
    return CharNetwork(NetworkConfig(vocabulary_size, "lstm", num_layers, hidden_size))


class Tutorial(torch.nn.Module):
    """``nn.Embedding``, ``nn.LSTM``, ``nn.Linear``."""

    def __init__(self, vocabulary_size: int, hidden_size: int, num_layers: int = 2) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary_size, hidden_size)
        self.lstm = torch.nn.LSTM(hidden_size, hidden_size, num_layers)
        self.output = torch.nn.Linear(hidden_size, vocabulary_size)

    @torch.no_grad()
    def characters(self, rows: int = 1) -> Iterator[list[int]]:
        """Ids without end for some texts side by side, one forward pass each."""
        ids, state = torch.zeros(1, rows, dtype=torch.long), None
        while True:
            hidden, state = self.lstm(self.embedding(ids), state)
            shares = torch.softmax(self.output(hidden[0]), -1)
            ids = torch.multinomial(shares, 1).view(1, rows)
            yield ids[0].tolist()


def tutorial_app(vocabulary_size: int, hidden_size: int) -> FastAPI:
    """A forward pass and a chunk for each character of each request, as tutorials stream.

    ``/sample`` computes in the event loop and gives way after each character; ``/pooled`` lets
    Starlette compute in its threads, of which there are forty.
    """
    app = FastAPI()
    model = Tutorial(vocabulary_size, hidden_size).eval()

    def pieces(length: int) -> Iterator[bytes]:
        for _, (id_,) in zip(range(length), model.characters(), strict=False):
            yield printable(id_).encode()

    @app.get("/sample")
    async def sample(length: int) -> StreamingResponse:
        async def text() -> AsyncIterator[bytes]:
            for piece in pieces(length):
                yield piece
                # Sending does not give way: without this, one text would keep all others waiting.
                await asyncio.sleep(0)

        return StreamingResponse(text(), media_type="text/plain")

    @app.get("/pooled")
    async def pooled(length: int) -> StreamingResponse:
        return StreamingResponse(pieces(length), media_type="text/plain")

    return app


def printable(id_: int) -> str:
    return chr(32 + id_ % 95)
