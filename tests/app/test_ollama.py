"""Ollama's own client works unchanged, over real HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import ollama
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.dialects import sampled
from tests.serving import serve
from tests.toys import toy_checkpoint


@pytest.fixture(scope="module")
def client(dated: Path) -> Iterator[httpx2.Client]:
    with serve(dated) as client:
        yield client


def test_generation_is_what_sample_writes(client: httpx2.Client, llama: ollama.Client) -> None:
    options: Any = {"seed": 5, "num_predict": 200, "temperature": 0.7, "top_k": 9, "top_p": 0.9}
    done = llama.generate(model="toy", prompt="hello", options=options)
    assert done.response == sampled(
        client, prime="hello", seed=5, length=200, temperature=0.7, top_k=9, top_p=0.9
    )
    assert done.done and done.done_reason == "length"
    assert (done.model, done.prompt_eval_count, done.eval_count) == ("toy:latest", 5, 200)
    assert done.total_duration and done.eval_duration is not None and done.load_duration
    assert done.total_duration >= done.load_duration + done.eval_duration > 0
    off: Any = {"seed": 5, "top_k": 0, "top_p": 1.0, "num_ctx": 4096, "mirostat": 1}
    plain = llama.generate(model="toy", prompt="", options=off, keep_alive=0, system="x", raw=True)
    assert plain.response == sampled(client, seed=5)


def test_it_streams_by_default_and_by_the_client(
    client: httpx2.Client, llama: ollama.Client
) -> None:
    options: Any = {"seed": 5, "num_predict": 30_000}
    parts = list(llama.generate(model="toy:v1", prompt="a", options=options, stream=True))
    *texts, end = parts
    assert len(texts) > 3 and not any(part.done for part in texts)
    text = sampled(client, model="toy:v1", prime="a", seed=5, length=30_000)
    assert "".join(part.response or "" for part in texts) == text
    assert end.done and end.done_reason == "length" and end.response == ""
    assert end.eval_count == 30_000
    # As curl sends it: no word of a stream, and a form's content type.
    body = json.dumps({"model": "toy:v1", "prompt": "a", "options": options})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    raw = client.post("/api/generate", content=body, headers=form)
    assert raw.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in raw.text.splitlines()]
    assert "".join(line["response"] for line in lines) == text
    assert lines[-1]["done"] is True and lines[0]["created_at"].endswith("Z")


def test_ollamas_stop_and_drawn_seeds(client: httpx2.Client, llama: ollama.Client) -> None:
    whole = sampled(client, seed=2)
    # Any number of them.
    stops = [f"{number}" for number in range(1000)]
    options: Any = {"seed": 2, "stop": [*stops, whole[300:303]], "num_predict": -1}
    done = llama.generate(model="toy", prompt="", options=options)
    assert done.response == whole[: whole.find(whole[300:303])]
    assert done.done_reason == "stop"
    drawn = [llama.generate(model="toy", prompt="", options={"seed": -1}) for _ in range(2)]
    assert drawn[0].response != drawn[1].response


def test_without_a_prompt_a_model_is_loaded(llama: ollama.Client) -> None:
    done = llama.generate(model="toy")
    assert (done.response, done.done, done.done_reason) == ("", True, "load")


def test_ollama_lists_shows_and_tells_its_version(
    client: httpx2.Client, llama: ollama.Client
) -> None:
    models = llama.list().models
    assert [model.model for model in models] == ["bytes:latest", "toy:latest", "toy:v1"]
    toy = models[1]
    assert toy.digest == client.get("/models/toy").json()["digest"]
    assert toy.modified_at and toy.modified_at.year == 2026
    assert toy.details and toy.details.family == "lstm"
    assert toy.size == toy_checkpoint().config.weight_bytes()
    shown = llama.show("toy:v1")
    assert shown.capabilities == ["completion"]
    assert shown.modelinfo and shown.modelinfo["lstm.block_count"] == 2
    version = client.get("/api/version").json()["version"]
    assert version == client.get("/openapi.json").json()["info"]["version"]


def test_an_ngram_table_counts_in_a_models_size(dated: Path, llama: ollama.Client) -> None:
    beside = toy_checkpoint(orders=3)
    Registry(dated / "models").publish(Reference("beside"), beside)
    sizes = {model.model: model.size for model in llama.list().models}
    assert sizes["beside:latest"] == sum(weight.nbytes for weight in beside.weights.values())
    Registry(dated / "models").delete_name("beside")


def test_ollamas_errors(llama: ollama.Client) -> None:
    for ask in (llama.show, lambda model: llama.generate(model=model, prompt="a")):
        for model in ("nobody", "Nobody!"):
            with pytest.raises(ollama.ResponseError) as missing:
                ask(model)
            assert missing.value.status_code == 404 and "model not found" in missing.value.error
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("É", {}, "prompt has characters not in this model's vocabulary: 'É'"),
        ("a", {"temperature": 11}, "temperature must be a number from 0"),
        ("a", {"num_predict": 10_000_000}, "num_predict"),
        ("a", {"stop": ["a" * 200] * 21}, "stop must be strings of at most 4,096 characters in"),
    ]
    for prompt, options, words in wrong:
        with pytest.raises(ollama.ResponseError) as bad:
            llama.generate(model="toy", prompt=prompt, options=options)
        assert bad.value.status_code == 400 and words in bad.value.error
