"""A server that speaks as much of the Hugging Face Hub's HTTP as ``huggingface_hub`` needs here.

It keeps repositories with commits, takes files in a commit or by git LFS's "basic" transfer, and
checks tokens and the metadata of a README.md. Xet, the Hub's own transfer, is left out: the
environment turns it off.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.local_http import answering

TOKEN, READ_TOKEN = "hf_writes", "hf_reads"
OWNER = "ada"

Files = dict[str, bytes]

FIRST: Files = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}


@dataclass
class Repository:
    """``commits`` are all states, oldest first, with what was said of them."""

    private: bool
    commits: list[tuple[str, Files]] = field(default_factory=lambda: [("initial commit", FIRST)])

    @property
    def files(self) -> Files:
        return self.commits[-1][1]

    def state(self, revision: str) -> tuple[str, Files] | None:
        """The id and the files of a commit; None if there is no such one."""
        ids = [hashlib.sha1(repr(one).encode()).hexdigest() for one in self.commits]
        if revision == "main":
            revision = ids[-1]
        return (revision, self.commits[ids.index(revision)][1]) if revision in ids else None


@dataclass
class HubServer:
    """The server and what it holds."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: Files = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    failing: str = ""
    """What a path has that is answered 500."""
    sizes: dict[str, int] = field(default_factory=dict)
    """What it says of the sizes of files, where that is a lie."""

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["HubServer"]:
        with answering(self.server):
            yield self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: HubServer

    def log_message(self, *_: Any) -> None:
        return

    def _answer(self, status: int, body: Any = None, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, words: str = "") -> None:
        self._answer(status, {"error": words}, X_Error_Code=code, X_Error_Message=words or code)

    def _token(self) -> str:
        return str(self.headers.get("authorization", "")).removeprefix("Bearer ")

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        if self.hub.failing and self.hub.failing in path:
            return self._refuse(500, "", "it is on fire")
        if self._token() not in ("", TOKEN, READ_TOKEN) and not path.startswith("/lfs/"):
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        for pattern, method in _ROUTES:
            kind, _, place = pattern.partition(" ")
            if kind == self.command and (found := re.fullmatch(place, path)):
                getattr(self, method)(body, *found.groups())
                return
        self._refuse(404, "", f"no {self.command} {path}")

    do_GET = do_HEAD = do_POST = do_PUT = _handle

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        if self._token() != TOKEN or asked["organization"] != OWNER:
            return self._refuse(403, "", "you have no right to create a model under this namespace")
        name = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{self.hub.endpoint}/{name}"}
        if name in self.hub.repositories:
            return self._answer(409, url | {"error": "You already created this model repo"})
        self.hub.repositories[name] = Repository(asked.get("visibility") == "private")
        self._answer(200, url)

    def _check_words(self, body: bytes) -> None:
        _, front, _ = json.loads(body)["content"].split("---\n", 2)
        try:
            found = YAML(typ="safe").load(front)
        except YAMLError as error:
            return self._answer(400, {"errors": [{"message": str(error)}]})
        missing = {"license", "library_name", "pipeline_tag", "tags"} - found.keys()
        warnings = [{"message": f"no {name}"} for name in sorted(missing)]
        self._answer(200, {"warnings": warnings})

    def _found(self, name: str) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self._token()):
            self._refuse(404 if self._token() else 401, "RepoNotFound", "Repository not found")
            return None
        return found

    def _info(self, _: bytes, name: str, revision: str | None) -> None:
        if (repository := self._found(name)) is None:
            return
        if (state := repository.state(revision or "main")) is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        sizes = {path: len(data) for path, data in state[1].items()} | self.hub.sizes
        siblings = [{"rfilename": path, "size": sizes[path]} for path in state[1]]
        about = {"id": name, "sha": state[0], "private": repository.private, "siblings": siblings}
        self._answer(200, about)

    def _preupload(self, body: bytes, _: str) -> None:
        files = []
        for one in json.loads(body)["files"]:
            is_text = b"\0" not in base64.b64decode(one["sample"])
            mode = "regular" if is_text and not one["path"].endswith(".safetensors") else "lfs"
            files.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False})
        self._answer(200, {"files": files})

    def _batch(self, body: bytes, _: str) -> None:
        objects = []
        for one in json.loads(body)["objects"]:
            upload = {"href": f"{self.hub.endpoint}/lfs/{one['oid']}"}
            objects.append({**one, "actions": {"upload": upload}})
        self._answer(200, {"objects": objects})

    def _put(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.objects[oid] = body
        self._answer(200)

    def _commit(self, body: bytes, name: str) -> None:
        if (repository := self._found(name)) is None:
            return
        if self._token() != TOKEN:
            return self._refuse(403, "", "you cannot write to this repository")
        files, summary, parent = dict(repository.files), "", None
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                summary, parent = value["summary"], value.get("parentCommit")
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.hub.objects[value["oid"]]
        now = repository.state("main")
        if now and parent not in (None, now[0]):
            return self._refuse(
                412, "", "A commit has happened since. Please refresh and try again"
            )
        repository.commits.append((summary, files))
        state = repository.state("main")
        assert state
        at = f"{self.hub.endpoint}/{name}/commit/{state[0]}"
        self._answer(200, {"commitUrl": at, "commitOid": state[0]})

    def _file(self, _: bytes, name: str, revision: str, path: str) -> None:
        if (repository := self._found(name)) is None:
            return
        if (state := repository.state(revision)) is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        if (data := state[1].get(path)) is None:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        tag = hashlib.sha256(data).hexdigest()
        self._answer(200, data, ETag=f'"{tag}"', X_Repo_Commit=state[0])


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES = (
    ("POST /api/repos/create", "_create"),
    ("POST /api/validate-yaml", "_check_words"),
    (f"GET /api/models/{_NAME}(?:/revision/(.+))?", "_info"),
    (f"POST /api/models/{_NAME}/preupload/main", "_preupload"),
    (f"POST /{_NAME}\\.git/info/lfs/objects/batch", "_batch"),
    (r"PUT /lfs/(\w+)", "_put"),
    (f"POST /api/models/{_NAME}/commit/main", "_commit"),
    (f"HEAD /{_NAME}/resolve/([^/]+)/(.+)", "_file"),
    (f"GET /{_NAME}/resolve/([^/]+)/(.+)", "_file"),
)
