"""A server that speaks as much of S3 as charloom needs, with conditional writes that are atomic.

moto's server is not atomic, and takes seconds to start. This one is a thread or, for processes with
networks of their own, a process: ``python -m tests.buckets ADDRESS PORT``. It can answer 503, or
nothing at all, for as long as it is told to.
"""

import hashlib
import re
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.local_http import answering

BUCKET = "loom"
KEY, SECRET = "the-key", "the-secret"
URL = f"s3://{BUCKET}/fleet"

_FORMAT = "%Y-%m-%dT%H:%M:%S.000Z"


@dataclass
class StoredObject:
    data: bytes
    at: float = field(default_factory=time.time)

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


@dataclass
class S3Server:
    """The server and what it holds. ``failing`` makes it answer 503; ``requests`` counts by method
    and key; ``requests_failed`` counts those that were answered 503."""

    address: str = "127.0.0.1"
    port: int = 0
    objects: dict[str, StoredObject] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    failing: bool = False
    requests_failed: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"state": self})
        self.server = ThreadingHTTPServer((self.address, self.port), handler)
        self.port = self.server.server_address[1]

    @property
    def url(self) -> str:
        return URL

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }

    def keys(self, prefix: str = "") -> list[str]:
        """Those of the objects below the prefix of ``URL``."""
        with self.lock:
            found = [key.removeprefix("fleet/") for key in self.objects]
        return sorted(key for key in found if key.startswith(prefix))

    @contextmanager
    def running(self) -> Iterator["S3Server"]:
        with answering(self.server):
            yield self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: S3Server

    def log_message(self, *_: Any) -> None:
        return

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionResetError, BrokenPipeError):
            self.close_connection = True

    def _begin(self) -> tuple[str, dict[str, str], bytes] | None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.state.requests.append((self.command, key))
        if bucket == "_control":
            self.state.failing = key == "fail"
            self._answer(200)
            return None
        if self.state.failing:
            self.state.requests_failed += 1
            self._error(503, "SlowDown")
        elif f"Credential={KEY}/" not in self.headers.get("authorization", ""):
            self._error(403, "InvalidAccessKeyId")
        elif bucket != BUCKET:
            self._error(404, "NoSuchBucket")
        else:
            if "aws-chunked" in self.headers.get("content-encoding", ""):
                body = _unchunked(body)
            return key, query, body
        return None

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._answer(status, body.encode(), Content_Type="application/xml")

    def do_PUT(self) -> None:
        if (begun := self._begin()) is None:
            return
        key, query, body = begun
        state = self.state
        with state.lock:
            if "uploadId" in query:
                state.uploads[query["uploadId"]][int(query["partNumber"])] = body
                tag = StoredObject(body).tag
            else:
                there = state.objects.get(key)
                if there and self.headers.get("if-none-match") == "*":
                    return self._error(412, "PreconditionFailed")
                wanted = self.headers.get("if-match")
                if wanted and there is None:
                    return self._error(404, "NoSuchKey")
                if wanted and there and there.tag != wanted:
                    return self._error(412, "PreconditionFailed")
                made = state.objects[key] = StoredObject(body)
                tag = made.tag
        self._answer(200, ETag=tag)

    def do_GET(self) -> None:
        if (begun := self._begin()) is None:
            return
        key, query, _ = begun
        if not key:
            return self._list(query)
        with self.state.lock:
            found = self.state.objects.get(key)
        if found is None:
            return self._error(404, "NoSuchKey")
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(found.at))
        if self.headers.get("if-none-match") == found.tag:
            return self._answer(304, ETag=found.tag, Last_Modified=date)
        data, headers, status = found.data, {}, 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")):
            first = int(asked[1])
            last = min(int(asked[2] or len(data)), len(data) - 1)
            headers["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
            data, status = data[first : last + 1], 206
        self._answer(status, data, ETag=found.tag, Last_Modified=date, **headers)

    do_HEAD = do_GET

    def _list(self, query: dict[str, str]) -> None:
        prefix, most = query.get("prefix", ""), int(query.get("max-keys", 1000))
        after = query.get("continuation-token") or query.get("start-after", "")
        with self.state.lock:
            found = sorted(
                (key, one)
                for key, one in self.state.objects.items()
                if key.startswith(prefix) and key > after
            )
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(one.data)}</Size>"
            f"<LastModified>{time.strftime(_FORMAT, time.gmtime(one.at))}</LastModified>"
            f"<ETag>{escape(one.tag)}</ETag></Contents>"
            for key, one in found[:most]
        )
        more = len(found) > most
        last = escape(found[:most][-1][0]) if found else ""
        token = f"<NextContinuationToken>{last}</NextContinuationToken>"
        body = (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token if more else ''}{entries}</ListBucketResult>"
        )
        self._answer(200, body.encode(), Content_Type="application/xml")

    def do_DELETE(self) -> None:
        if (begun := self._begin()) is not None:
            with self.state.lock:
                self.state.objects.pop(begun[0], None)
            self._answer(204)

    def do_POST(self) -> None:
        if (begun := self._begin()) is None:
            return
        key, query, body = begun
        state = self.state
        with state.lock:
            if "delete" in query:
                tags = ElementTree.fromstring(body).iter()
                gone = [one.text or "" for one in tags if one.tag.endswith("Key")]
                for name in gone:
                    state.objects.pop(name, None)
                entries = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in gone)
                answer = f"<DeleteResult>{entries}</DeleteResult>"
            elif "uploads" in query:
                upload = str(len(state.uploads))
                state.uploads[upload] = {}
                answer = (
                    "<InitiateMultipartUploadResult>"
                    f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                )
            else:
                parts = state.uploads.pop(query["uploadId"])
                data = b"".join(part for _, part in sorted(parts.items()))
                made = state.objects[key] = StoredObject(data)
                answer = (
                    "<CompleteMultipartUploadResult>"
                    f"<ETag>{escape(made.tag)}</ETag></CompleteMultipartUploadResult>"
                )
        self._answer(200, answer.encode(), Content_Type="application/xml")


def _unchunked(body: bytes) -> bytes:
    data = b""
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if size == 0:
            break
        data, body = data + body[:size], body[size + 2 :]
    return data


if __name__ == "__main__":
    server = S3Server(sys.argv[1], int(sys.argv[2]))
    if len(sys.argv) > 3:
        Path(sys.argv[3]).write_text(server.endpoint)
    server.server.serve_forever()
