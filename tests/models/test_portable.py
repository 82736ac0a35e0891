"""Models carried away and brought back, and what somebody brings who means no good."""

import hashlib
import io
import json
import random
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import onnx
import onnxruntime
import pytest

from models.checkpoints.archive import unzipped, zipped
from models.checkpoints.format import MANIFEST, Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.config import NetworkKind
from models.decoding.decoder import Choices
from models.decoding.export import onnx_file
from models.files import CheckpointError
from models.text.vocab import Vocabulary
from tests.serving import problem, serve, wrong_fields
from tests.toys import toy_checkpoint, toy_decoder
from worker.jobs import JobStore

LIMIT = 1 << 20
JOB = "0123456789abcdef012345"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "onnx.md"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data, max_upload_bytes=LIMIT) as client:
        yield client


@pytest.fixture
def registry(data: Path) -> Registry:
    registry = Registry(data / "models")
    for name in registry.names():
        registry.delete_name(name)
    registry.publish(Reference("toy"), full_checkpoint())
    return registry


def onnx_of(checkpoint: Checkpoint) -> bytes:
    config, weights, vocabulary = checkpoint.config, checkpoint.weights, checkpoint.vocabulary
    return onnx_file(config, weights, vocabulary, "toy", "0" * 64)


def full_checkpoint(seed: int = 0, **card: Any) -> Checkpoint:
    """One that has something of everything."""
    card = {"job_id": JOB, "created_at": "2026-01-02T03:04:05.000Z", "step": 9} | card
    history = [{"step": 5, "train_loss": 2.5, "val_loss": None}, {"step": 5, "text": "a b\n"}]
    lines = np.array([1, 2**63], np.uint64)
    return replace(toy_checkpoint(seed=seed, **card), history=history, lines=lines)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The zip of a sound checkpoint."""
    registry = Registry(tmp_path_factory.mktemp("elsewhere"))
    digest = registry.publish(Reference("toy"), full_checkpoint())
    with registry.opened("toy", digest) as files:
        return b"".join(zipped(files))


Contents = dict[str, bytes]


def contents(archive: bytes) -> Contents:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def pack(files: Contents, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def sealed(files: Contents, **changed: bytes | dict[str, Any]) -> bytes:
    """A zip whose manifest is right, of a checkpoint with other contents: ``card`` is card.json."""
    files = dict(files)
    for stem, content in changed.items():
        (name,) = (name for name in files if name.partition(".")[0] == stem)
        files[name] = content if isinstance(content, bytes) else json.dumps(content).encode()
    files[MANIFEST] = json.dumps(
        {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
            if name != MANIFEST
        }
    ).encode()
    return pack(files)


def card_of(archive: bytes) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(contents(archive)["card.json"])
    return card


def listed(client: httpx2.Client) -> list[str]:
    return [model["model"] for model in client.get("/models").json()["models"]]


# Away and back


@pytest.mark.usefixtures("registry")
def test_a_download_is_the_checkpoint(client: httpx2.Client, registry: Registry) -> None:
    digest = registry.resolve(Reference("toy"))
    response = client.get("/models/toy/download")
    assert response.headers["content-type"] == "application/zip"
    named = f'attachment; filename="toy-{digest[:12]}.zip"'
    assert response.headers["content-disposition"] == named
    assert response.headers["x-model-digest"] == digest
    home = registry.root / "toy" / digest
    files = {path.name: path.read_bytes() for path in home.iterdir()}
    assert contents(response.content) == files
    assert client.get("/models/toy:latest/download?format=").content == response.content
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None


def test_a_model_comes_back_as_it_was(client: httpx2.Client, registry: Registry) -> None:
    """On this server or another; the same checkpoint has the same digest everywhere."""
    before = client.get("/models/toy").json()
    archive = client.get("/models/toy/download").content
    response = client.post("/models/other", content=archive)
    assert response.status_code == 201, response.text
    assert response.headers["location"] == "/models/other"
    assert response.json() == before | {"model": "other", "name": "other"}
    assert client.get("/models/other").json() == response.json()
    query = {"length": 300, "seed": 4, "temperature": 0.5}
    texts = [client.get("/sample", params=query | {"model": m}).text for m in ("toy", "other")]
    assert texts[0] == texts[1]
    assert registry.history(Reference("other")) == registry.history(Reference("toy"))


def test_a_tag_of_its_own(client: httpx2.Client, registry: Registry, sound: bytes) -> None:
    registry.publish(Reference("toy"), full_checkpoint(1))
    latest = registry.resolve(Reference("toy"))
    response = client.post("/models/toy:from-afar", content=sound)
    assert response.status_code == 201
    assert response.headers["location"] == "/models/toy:from-afar"
    assert listed(client) == ["toy", "toy:from-afar"]
    assert registry.resolve(Reference("toy")) == latest
    assert 'filename="toy-from-afar-' in str(client.get("/models/toy:from-afar/download").headers)


def test_what_was_latest_stays_under_its_job(
    client: httpx2.Client, registry: Registry, sound: bytes
) -> None:
    old = registry.publish(Reference("toy"), full_checkpoint(7))
    new = client.post("/models/toy", content=sound).json()["digest"]
    assert registry.resolve(Reference("toy")) == new
    assert registry.resolve(Reference("toy", JOB)) == old
    # Again, it changes nothing; and what comes of the same job takes no other's tag.
    client.post("/models/toy", content=sound)
    assert listed(client) == ["toy", f"toy:{JOB}"]
    registry.publish(Reference("toy"), full_checkpoint(8))
    third = registry.resolve(Reference("toy"))
    client.post("/models/toy", content=sound)
    assert registry.resolve(Reference("toy", JOB)) == old
    assert registry.resolve(Reference("toy", third[:22])) == third


def test_no_card_says_which_tag_is_taken(
    client: httpx2.Client, registry: Registry, sound: bytes
) -> None:
    old = registry.publish(Reference("toy"), full_checkpoint(7, job_id="latest"))
    assert client.post("/models/toy", content=sound).status_code == 201
    assert registry.resolve(Reference("toy", old[:22])) == old


def test_not_while_a_job_trains_it(
    client: httpx2.Client, registry: Registry, data: Path, sound: bytes
) -> None:
    store = JobStore(data / "jobs")
    job, _ = store.create("busy", "0" * 64, {}, None)
    assert job.id in problem(client.post("/models/busy", content=sound), 409)["detail"]
    assert registry.names() == ["toy"]
    job.request_cancel()
    assert client.post("/models/busy", content=sound).status_code == 201


def test_nobody_says_what_ships_or_what_it_is_compared_with(
    client: httpx2.Client, registry: Registry
) -> None:
    ngram = registry.publish_ngram("shipped", b"counts")
    registry.publish(Reference("shipped"), full_checkpoint(pretrained=True, ngram=ngram))
    assert client.get("/models/shipped").json()["pretrained"] is True
    assert registry.ngram("shipped")[0] == ngram
    archive = client.get("/models/shipped/download").content
    assert client.post("/models/shipped", content=archive).json()["pretrained"] is False
    assert "no n-gram" in problem(client.get("/sample?model=shipped:ngram"), 404)["detail"]


def test_a_download_outlives_its_model(registry: Registry) -> None:
    digest = registry.resolve(Reference("toy"))
    with registry.opened("toy", digest) as files:
        pieces = zipped(files)
        first = next(pieces)
        registry.delete_name("toy")
        archive = first + b"".join(pieces)
    assert unzipped(io.BytesIO(archive), LIMIT).card["job_id"] == JOB


def test_what_is_damaged_is_not_handed_out(client: httpx2.Client, registry: Registry) -> None:
    weights = registry.root / "toy" / registry.resolve(Reference("toy")) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "damaged" in problem(client.get("/models/toy/download"), 404)["detail"]


@pytest.mark.usefixtures("registry")
def test_what_can_not_be_downloaded(client: httpx2.Client) -> None:
    assert problem(client.get("/models/nobody/download"), 404)
    assert problem(client.get("/models/nobody/download?format=onnx"), 404)
    assert wrong_fields(client.get("/models/toy/download?format=pickle")).keys() == {"format"}
    assert wrong_fields(client.get("/models/toy/download?colour=red")).keys() == {"colour"}


# Attacks


def bomb(sound: bytes) -> bytes:
    """A thousand times as large, unpacked."""
    return pack(contents(sound) | {"history.jsonl": b"\n" * (LIMIT * 20)})


def bomb_that_lies(sound: bytes) -> bytes:
    """Its sizes say a byte each; the network is as large as any may be."""
    config = {"format": 1, "vocabulary_size": 28, "num_layers": 8, "hidden_size": 4096}
    archive = bytearray(sealed(contents(sound), config=config, model=b"\0" * (LIMIT * 4)))
    at = 0
    while (at := archive.find(b"PK\1\2", at + 1)) > 0:
        archive[at + 24 : at + 28] = struct.pack("<I", 1)
    return bytes(archive)


def directory_bomb(sound: bytes) -> bytes:
    """Nothing but entries."""
    entry = bytearray(sound[sound.find(b"PK\1\2") : sound.find(b"PK\1\2") + 46 + 11])
    count = LIMIT // len(entry) - 1000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, count * len(entry), 0, 0)
    return bytes(entry) * count + end


def directory_bomb_64(sound: bytes) -> bytes:
    """The same by the other of a zip's two ends."""
    entries = directory_bomb(sound)[:-22]
    end64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 20, 1 << 20, len(entries), 0
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(entries), 1)
    return entries + end64 + locator + struct.pack("<4s4H2LH", b"PK\5\6", *[0] * 2, 9, 9, 9, 0, 0)


def twice(sound: bytes) -> bytes:
    out = io.BytesIO(sound)
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(out, "a") as archive,
    ):
        archive.writestr("card.json", "{}")
    return out.getvalue()


def linked(sound: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in contents(sound).items():
            info = zipfile.ZipInfo(name)
            if name == "card.json":
                info.external_attr, content = 0o120777 << 16, b"/etc/passwd"
            archive.writestr(info, content)
    return out.getvalue()


def flagged(sound: bytes) -> bytes:
    """Each entry says that it is encrypted."""
    archive = bytearray(pack(contents(sound)))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := archive.find(mark, at + 1)) >= 0:
            archive[at + offset] |= 1
    return bytes(archive)


def named(name: str) -> Callable[[bytes], bytes]:
    """With a file of another name too."""

    def attack(sound: bytes) -> bytes:
        info = zipfile.ZipInfo("x")
        info.filename = name
        out = io.BytesIO(sound)
        with zipfile.ZipFile(out, "a") as archive:
            archive.writestr(info, b"x")
        return out.getvalue()

    return attack


def changed(**files: Any) -> Callable[[bytes], bytes]:
    return lambda sound: sealed(contents(sound), **files)


def carded(**fields: Any) -> Callable[[bytes], bytes]:
    return lambda sound: sealed(contents(sound), card=card_of(sound) | fields)


def without(name: str) -> Callable[[bytes], bytes]:
    return lambda sound: pack({k: v for k, v in contents(sound).items() if k != name})


DEEP = b'{"options": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}"

ATTACKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda _: b"", "no zip"),
    "a text": (lambda _: b"never mind" * 10, "no zip"),
    "truncated": (lambda sound: sound[:-30], "no zip"),
    "cut in the middle": (lambda sound: sound[:5000] + sound[9000:], "damaged"),
    "something behind it": (lambda sound: sound + b"\0", "no zip"),
    "a bomb": (bomb, "larger than"),
    "a bomb that lies": (bomb_that_lies, "damaged"),
    "a directory bomb": (directory_bomb, "more in it"),
    "a directory bomb of zip64": (directory_bomb_64, "more in it"),
    "twice": (twice, "twice"),
    "a link": (linked, "not a file"),
    "encrypted": (flagged, "encrypted"),
    "bzip2": (lambda sound: pack(contents(sound), zipfile.ZIP_BZIP2), "uncommon"),
    "up": (named("../../../etc/passwd"), "no checkpoint has"),
    "from the root": (named("/etc/passwd"), "no checkpoint has"),
    "backwards": (named("..\\card.json"), "no checkpoint has"),
    "in a folder": (named("toy/card.json"), "no checkpoint has"),
    "a name and a NUL": (named("card.json\0.exe"), "no checkpoint has"),
    "a folder": (named("card.json/"), "no checkpoint has"),
    "a pickle": (named("model.pt"), "no checkpoint has"),
    "no manifest": (without("manifest.json"), "manifest.json is missing"),
    "no weights": (without("model.safetensors"), "model.safetensors is missing"),
    "the manifest of another": (lambda s: pack(contents(s) | {"card.json": b"{}"}), "sha256"),
    "JSON without end": (changed(card=b"[" * 100_000), "sound JSON"),
    "JSON too deep to write": (changed(card=DEEP), "sound JSON"),
    "a card of a megabyte": (changed(card={"options": {"a": "b" * 900_000}}), "its kind may be"),
    "a loss that is a word": (carded(val_loss="low"), "not a number"),
    "a loss beyond all": (carded(val_loss=10**400), "not a number"),
    "half a precision": (carded(precision={"exact": 1.0}), "lacks exact or fast"),
    "a corpus of words": (carded(corpus={"characters": "many"}), "corpus characters is not a"),
    "a corpus with a bell": (carded(corpus={"id": "\a"}), "corpus id is not a line of text"),
    "a share that is a word": (
        carded(memorisation={"novel_name_share": "all"}),
        "memorisation novel_name_share is not a number",
    ),
    "a corpus that is a list": (carded(corpus=[1]), "not an object"),
    "an n-gram model that is a list": (carded(ngram=["0" * 64]), "not a line"),
    "a job that moves the cursor": (carded(job_id="\x1b[2J"), "not a line"),
    "a history without steps": (changed(history=b'{"text": "a"}\n'), "not a number"),
    "a sample that is a number": (changed(history=b'{"step": 1, "text": 5}\n'), "not text"),
    "text of another alphabet": (changed(validation="é".encode()), "vocabulary"),
    "weights of another shape": (changed(model=b"\2" + b"\0" * 7 + b"{}"), "config.json says"),
    "sizes without bound": (
        changed(config={"format": 1, "vocabulary_size": 28, "hidden_size": 1 << 40}),
        "hidden_size must be",
    ),
    "a config of another kind": (changed(config={"format": 1, "kind": ["lstm"]}), "config.json"),
    "lines in no order": (changed(lines=struct.pack("<2Q", 2, 1)), "increase"),
}


@pytest.mark.parametrize(("attack", "words"), ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused_in_words_and_leaves_nothing(
    client: httpx2.Client,
    registry: Registry,
    sound: bytes,
    attack: Callable[[bytes], bytes],
    words: str,
) -> None:
    before = {path: path.read_bytes() for path in registry.root.rglob("*") if path.is_file()}
    response = client.post("/models/evil", content=attack(sound))
    assert words in wrong_fields(response)["body"]
    assert "passwd" not in response.text
    after = {path: path.read_bytes() for path in registry.root.rglob("*") if path.is_file()}
    assert after == before
    assert client.post("/models/evil", content=sound).status_code == 201


def test_an_upload_is_bounded_as_it_comes(client: httpx2.Client, registry: Registry) -> None:
    assert problem(client.post("/models/big", content=b"P" * (LIMIT + 1)), 413)

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"P" * LIMIT

    # The answer may come while there is more to send.
    with suppress(httpx2.WriteError):
        assert problem(client.post("/models/big", content=endless()), 413)
    assert registry.names() == ["toy"]


@pytest.mark.usefixtures("registry")
def test_what_is_no_import(client: httpx2.Client, sound: bytes) -> None:
    assert wrong_fields(client.post("/models/Evil", content=sound)).keys() == {"model"}
    assert wrong_fields(client.post("/models/a:..", content=sound)).keys() == {"model"}
    assert wrong_fields(client.post("/models/a:ngram", content=sound)).keys() == {"model"}
    assert wrong_fields(client.post("/models/a?colour=red", content=sound)).keys() == {"colour"}
    form = problem(client.post("/models/a", files={"file": sound}), 415)
    assert "as the body" in form["detail"]
    packed = client.post("/models/a", content=sound, headers={"Content-Encoding": "gzip"})
    assert problem(packed, 415)


def test_importing_needs_the_right_key(tmp_path: Path, sound: bytes) -> None:
    with serve(tmp_path, api_keys="s:sample,t:train,a:admin") as client:
        for key, status in (("", 401), ("s", 403), ("t", 403)):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            response = client.post("/models/mine", content=sound, headers=headers)
            assert problem(response, status)
        headers = {"Authorization": "Bearer a"}
        assert client.post("/models/mine", content=sound, headers=headers).status_code == 201
        assert problem(client.get("/models/mine/download"), 401)
        headers = {"Authorization": "Bearer s"}
        assert client.get("/models/mine/download", headers=headers).status_code == 200


def test_any_damage_is_a_checkpoint_error(sound: bytes) -> None:
    """Whatever bytes are changed, cut out or put in: nothing but CheckpointError comes of it."""
    rng = random.Random(0)
    places = [m.start() for m in re.finditer(rb"PK", sound)]
    refused = 0
    for _ in range(400):
        damaged = bytearray(sound)
        for _ in range(rng.randint(1, 4)):
            near = rng.choice([*places, rng.randrange(len(damaged))])
            at = min(near + rng.randrange(60), len(damaged) - 1)
            kind = rng.random()
            if kind < 0.6:
                damaged[at] = rng.randrange(256)
            elif kind < 0.8:
                del damaged[at : at + rng.randrange(50)]
            else:
                damaged[at:at] = rng.randbytes(rng.randrange(50))
        try:
            unzipped(io.BytesIO(damaged), LIMIT)
        except CheckpointError:
            refused += 1
    assert refused > 200


# ONNX


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_an_onnx_file_is_of_standard_operators_and_says_what_it_is(kind: NetworkKind) -> None:
    checkpoint = toy_checkpoint(kind)
    model = onnx.load_from_string(onnx_of(checkpoint))
    onnx.checker.check_model(model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    values = {value.name: value.doc_string for value in (*model.graph.input, *model.graph.output)}
    assert all(values.values())
    # The document shows those of the first layer.
    shown = {name for name in values if re.fullmatch("h0.*|[a-z]{2,}.*", name)}
    assert all(f"`{name}`" in DOCUMENT.read_text() for name in shown)
    about = {prop.key: prop.value for prop in model.metadata_props}
    assert Vocabulary.from_json(json.loads(about["vocabulary"])) == checkpoint.vocabulary
    assert about["start_id"] == str(checkpoint.vocabulary.start_id)


def test_its_logits_are_those_of_the_service(client: httpx2.Client, registry: Registry) -> None:
    response = client.get("/models/toy/download?format=onnx")
    assert response.headers["content-type"] == "application/onnx"
    assert int(response.headers["content-length"]) == len(response.content)
    assert re.search(r'filename="toy-[0-9a-f]{12}\.onnx"', response.headers["content-disposition"])
    checkpoint = registry.load("toy", registry.resolve(Reference("toy")))
    text = "the quick fox"
    asked = {"text": text, "top": 0}
    inspected = client.post("/models/toy/inspect", json=asked).json()["characters"]
    session = onnxruntime.InferenceSession(response.content)
    ids = checkpoint.vocabulary.encode(text)
    state = np.zeros((1, 1, checkpoint.config.hidden_size), np.float32)
    feeds = {
        "id": np.array([checkpoint.vocabulary.start_id]),
        **dict.fromkeys(("h0", "h1", "c0", "c1"), state),
        "uniforms": np.zeros((len(ids), 1), np.float32),
        "forced": ids[:, None],
        "temperature": np.ones((1, 1), np.float32),
        "greedy": np.zeros(1, np.bool_),
    }
    logits = session.run(["logits"], feeds)[0][:, 0].astype(np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(ids)), ids]
    told = [character["loss"] for character in inspected]
    np.testing.assert_allclose(losses[1:], told[1:], rtol=1e-4)


def test_the_documents_own_program_writes_a_text(tmp_path: Path) -> None:
    checkpoint = toy_checkpoint()
    (tmp_path / "toy.onnx").write_bytes(onnx_of(checkpoint))
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "toy.onnx"],
        capture_output=True,
        text=True,
        check=True,
    )
    # The service's own text, given the same uniform numbers.
    uniforms = np.random.default_rng(0).random((500, 1), dtype=np.float32)
    decoder = toy_decoder(checkpoint)
    rows = decoder.start(np.array([checkpoint.vocabulary.start_id]))
    choices = Choices(np.array([0.8], np.float32), np.array([0]), np.array([0], np.float32))
    chosen, _, _ = decoder.advance(rows, np.full((500, 1), -1), uniforms, choices)
    expected = checkpoint.vocabulary.decoder().decode(chosen[:, 0], final=True)
    assert done.stdout == expected + "\n"


def test_a_network_beyond_onnx_is_refused_before_it_is_made() -> None:
    checkpoint = toy_checkpoint()
    giant = replace(checkpoint.config, num_layers=8, hidden_size=4096)
    with pytest.raises(ValueError, match="2 GiB"):
        onnx_of(replace(checkpoint, config=giant))
