"""Models go to the Hugging Face Hub and come back, and whatever goes wrong loses nothing.

The package is the real one; the Hub is a stand-in that speaks its HTTP (``tests.hub``).
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest

from app.supervisor.errors import UserError
from app.terminal import hub
from app.terminal.client import Client
from models.checkpoints.archive import MEMBERS
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.commands import charloom
from tests.hub import FIRST, READ_TOKEN, TOKEN, Files, HubServer, Repository
from tests.serving import serve
from tests.support import SmallDisk
from tests.toys import toy_checkpoint

CARD: dict[str, Any] = {"created_at": "2026-01-02T03:04:05.000Z", "val_loss": 1.5}


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """An empty Hub, which the environment of commands and this process both name."""
    with HubServer().running() as server:
        settings = {
            "HF_ENDPOINT": server.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        # The package reads most of them once.
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        place = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", place)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        yield server


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    registry = Registry(tmp_path_factory.mktemp("data") / "models")
    registry.publish(Reference("toy"), toy_checkpoint(**CARD))
    registry.publish(Reference("toy", "v1"), toy_checkpoint(seed=1, orders=3, **CARD))
    return registry


@pytest.fixture(scope="module")
def service(registry: Registry) -> Iterator[Client]:
    with serve(registry.root.parent) as client:
        yield Client(str(client.base_url))


def push(service: Client, model: str = "toy", place: str = "ada/toy", **how: bool) -> None:
    hub.push(service, model, place, **{"public": False, "update": False} | how)


def pushed(service: Client, there: HubServer) -> Repository:
    push(service)
    return there.repositories["ada/toy"]


def digest(service: Client, model: str) -> str:
    return str(service.get(f"/models/{model}")["digest"])


def test_a_model_goes_there_and_comes_back(there: HubServer, service: Client) -> None:
    done = charloom("models", "toy", "--push", "ada/toy", "--url", service.url)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.endswith(f"toy is at {there.endpoint}/ada/toy\n")
    repository = there.repositories["ada/toy"]
    assert repository.private
    (_, first), (said, files) = repository.commits
    assert (first, said) == (FIRST, "Add toy")
    assert files.keys() == MEMBERS | FIRST.keys()
    assert json.loads(files["config.json"])["hidden_size"]
    metadata: Any = huggingface_hub.ModelCard(files["README.md"].decode()).data
    assert metadata.eval_results[0].metric_value == 1.5
    done = charloom("models", "back", "--pull", "ada/toy", "--url", service.url)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.endswith("back is imported; ./charloom sample --model back writes with it\n")
    assert digest(service, "back") == digest(service, "toy")


def test_what_people_change_there_does_not_matter(there: HubServer, service: Client) -> None:
    files = pushed(service, there).files
    files |= {"README.md": b"# Mine\n", "LICENSE": b"MIT", "art/loom.png": b"\x89PNG"}
    hub.pull(service, "edited", "ada/toy")
    assert digest(service, "edited") == digest(service, "toy")
    del files["README.md"]
    hub.pull(service, "unread", "ada/toy")
    assert digest(service, "unread") == digest(service, "toy")


def test_an_update_is_a_commit_and_the_state_before_can_be_pulled(
    there: HubServer, service: Client
) -> None:
    repository = pushed(service, there)
    before = repository.state("main")
    with pytest.raises(UserError, match=r"exists and has files: .*--update"):
        push(service, "toy:v1")
    assert len(repository.commits) == 2
    push(service, "toy:v1", update=True)
    hub.pull(service, "newer", "ada/toy")
    assert before
    hub.pull(service, "older", f"ada/toy@{before[0]}")
    assert digest(service, "newer") == digest(service, "toy:v1")
    assert digest(service, "older") == digest(service, "toy")
    with pytest.raises(UserError, match="has no such revision"):
        hub.pull(service, "none", "ada/toy@v9")


def test_a_repository_that_was_made_there_is_filled(there: HubServer, service: Client) -> None:
    there.repositories["ada/toy"] = Repository(private=True)
    assert pushed(service, there).files.keys() >= MEMBERS


def test_nothing_becomes_public_by_itself(there: HubServer, service: Client) -> None:
    there.repositories["ada/toy"] = Repository(private=False)
    with pytest.raises(UserError, match=r"is public, and a model carries .* of its text"):
        push(service)
    assert len(there.repositories["ada/toy"].commits) == 1
    push(service, public=True)
    push(service, place="ada/new", public=True)
    assert not there.repositories["ada/new"].private


@pytest.mark.parametrize(
    ("token", "place", "words"),
    [
        ("", "ada/toy", "needs a token .* hf auth login"),
        ("hf_wrong", "ada/toy", "does not accept the token"),
        (READ_TOKEN, "ada/toy", "the token may not do this with ada/toy"),
        (TOKEN, "bob/toy", "the token may not do this with bob/toy"),
        (TOKEN, "toy", "toy is not the name of a repository, such as owner/name"),
        (TOKEN, "a/b/c", "a/b/c is not the name of a repository"),
        (TOKEN, "ada/..", "is not the name of a repository"),
    ],
)
def test_what_is_not_allowed_leaves_nothing_there(
    there: HubServer,
    service: Client,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    place: str,
    words: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UserError, match=words):
        push(service, place=place)
    assert there.repositories == {}


def test_an_unknown_model_is_not_pushed(there: HubServer, service: Client) -> None:
    with pytest.raises(UserError, match="model not found"):
        push(service, "nobody")
    assert there.repositories == {}


@pytest.mark.parametrize("failing", ["/api/repos/create", "/commit/", "/preupload/", "batch"])
def test_what_breaks_off_is_done_by_another_try(
    there: HubServer, service: Client, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    # The package would try again for a minute.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    there.failing = failing
    with pytest.raises(UserError, match="answers 500 it is on fire"):
        push(service)
    assert all(len(one.commits) == 1 for one in there.repositories.values())
    there.failing = ""
    assert pushed(service, there).files.keys() >= MEMBERS


def test_what_others_push_meanwhile_is_not_overwritten(
    there: HubServer, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = pushed(service, there)
    check = hub._check_target

    def pushed_meanwhile(*arguments: object, **how: bool) -> None:
        check(*arguments, **how)  # type: ignore[arg-type]
        repository.commits.append(("another's", FIRST))

    monkeypatch.setattr(hub, "_check_target", pushed_meanwhile)
    with pytest.raises(UserError, match="answers 412 A commit has happened since"):
        push(service, update=True)
    assert repository.commits[-1][0] == "another's"


@pytest.mark.usefixtures("there")
def test_without_a_network_it_says_so(service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    away = "http://127.0.0.1:1"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", away)
    with pytest.raises(UserError, match=f"cannot reach {away}: .*refused"):
        push(service)
    with pytest.raises(UserError, match=f"cannot reach {away}: .*refused"):
        hub.pull(service, "none", "ada/toy")


def test_what_is_not_there_or_hidden(
    there: HubServer, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(service, there)
    with pytest.raises(UserError, match="has no model ada/none, or shows it only to others"):
        hub.pull(service, "none", "ada/none")
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(UserError, match="has no model ada/toy, or shows it only to others"):
        hub.pull(service, "none", "ada/toy")
    there.repositories["ada/toy"].private = False
    hub.pull(service, "without-a-token", "ada/toy")


def a_transformer(files: Files) -> Files:
    return {"config.json": b'{"model_type": "gpt2"}', "model.safetensors": files["config.json"]}


def of_another_kind(files: Files) -> Files:
    return files | {"config.json": b'{"model_type": "gpt2"}'}


def tampered(files: Files) -> Files:
    weights = files["model.safetensors"]
    return files | {"model.safetensors": weights[:-1] + bytes([weights[-1] ^ 1])}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (a_transformer, "ada/toy is not a model of charloom's: .* is missing"),
        (of_another_kind, "ada/toy is not a model of charloom's: config.json has a format"),
        (tampered, "the file is not a checkpoint: model.safetensors is damaged"),
    ],
)
def test_what_is_no_model_is_refused_in_words(
    there: HubServer, service: Client, change: object, words: str
) -> None:
    repository = pushed(service, there)
    repository.commits.append(("changed", change(repository.files)))  # type: ignore[operator]
    before = [one["model"] for one in service.get("/models")["models"]]
    with pytest.raises(UserError, match=words):
        hub.pull(service, "evil", "ada/toy")
    assert [one["model"] for one in service.get("/models")["models"]] == before


@pytest.mark.parametrize("name", ["config.json", "card.json", "model.safetensors"])
@pytest.mark.parametrize("lies", [False, True])
def test_no_more_is_fetched_than_a_model_has(
    there: HubServer, service: Client, monkeypatch: pytest.MonkeyPatch, name: str, lies: bool
) -> None:
    repository = pushed(service, there)
    if lies:
        # The Hub says that it is small.
        monkeypatch.setattr(hub, "most_bytes", lambda one, *_: 10 if one == name else 1 << 30)
        there.sizes[name] = 1
    else:
        there.sizes[name] = 1 << 40
    with pytest.raises(UserError, match=f"is not a model of charloom's: {name} is too large"):
        hub.pull(service, "evil", "ada/toy")
    fetched = ("GET", f"/ada/toy/resolve/{repository.state('main')[0]}/{name}")  # type: ignore[index]
    assert (fetched in there.requests) == lies


@pytest.mark.usefixtures("there")
def test_a_full_disk_is_said_to_be(
    service: Client, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk.root))
    push(service)
    small_disk.fill()
    with pytest.raises(UserError, match="No space left on device"):
        push(service, place="ada/second")
    with pytest.raises(UserError, match="No space left on device"):
        hub.pull(service, "none", "ada/toy")
    assert [path.name for path in small_disk.root.iterdir()] == ["ballast"]


def test_what_is_not_the_hub_is_one_line(service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, words in ((service.url, "answers 404"), ("nowhere", "cannot reach nowhere")):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", place)
        with pytest.raises(UserError, match=words):
            hub.pull(service, "none", "ada/toy")


def test_without_the_package_it_says_what_to_install(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"need huggingface_hub: .* -m pip install"):
        push(service)
