"""The plain way in batches: LitServe (``pip install litserve``), a chunk a character."""

from collections.abc import Iterator

import litserve

from bench.naive import Tutorial, printable


class API(litserve.LitAPI):  # type: ignore[misc]
    """Requests that come together are a batch to its end, as LitServe streams."""

    def __init__(self, vocabulary_size: int, hidden_size: int, rows: int) -> None:
        super().__init__(max_batch_size=rows, batch_timeout=0.5, stream=True)
        self.sizes = vocabulary_size, hidden_size

    def setup(self, device: str) -> None:
        self.model = Tutorial(*self.sizes).eval().to(device)

    def decode_request(self, request: dict[str, int]) -> int:
        return request["length"]

    def predict(self, lengths: list[int]) -> Iterator[list[int]]:
        steps = range(max(lengths))
        for _, ids in zip(steps, self.model.characters(len(lengths)), strict=False):
            yield ids

    # LitServe would make its return type the answer's.
    def encode_response(self, steps: Iterator[list[int]]):  # type: ignore[no-untyped-def]
        for ids in steps:
            yield [printable(id_) for id_ in ids]


def run(vocabulary_size: int, hidden_size: int, port: int, rows: int) -> None:
    """Serves until it is killed."""
    api = API(vocabulary_size, hidden_size, rows)
    litserve.LitServer(api, accelerator="cpu", timeout=False).run(
        "127.0.0.1", port, log_level="error", generate_client_file=False
    )
