"""Nothing is imported in a request: where no file is free, that would be a 500."""

import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

ASK = """
import http.client, json, sys
from pathlib import Path
from app.server.preload import preload
from tests.serving import TEXT, serve

preload()
JSON = {"Content-Type": "application/json"}
ZIP = {"Content-Type": "application/zip"}
with serve(Path(sys.argv[1]), pretrained=Path("pretrained")) as client:
    port = client.base_url.port

    def ask(status, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        assert response.status == status, (path, answer)
        connection.close()
        return answer

    def asked(path, fields):
        ask(200, "POST", path, json.dumps(fields), **JSON)

    ask(200, "GET", "/healthz")
    before = set(sys.modules)
    ask(200, "GET", "/", Accept="text/html")
    ask(503, "GET", "/readyz")
    for path in ("/openapi.json", "/docs", "/metrics", "/jobs", "/models", "/models/linux/history"):
        ask(200, "GET", path)
    job = json.loads(ask(202, "POST", "/train?model=m", TEXT))["id"]
    ask(422, "POST", "/train?model=n", b"\\xff\\xfe\\xe9" * 100)
    for encoding in ("latin-1", "cp1251", "utf-16", "shift_jis", "big5", "koi8-r"):
        ask(201, "POST", "/corpora", "Übung привет 日本語 ".encode(encoding, "ignore") * 50)
    form = "--x\\r\\nContent-Disposition: form-data; name=%s\\r\\n\\r\\n%s\\r\\n"
    body = form % ("model", "o") + form % ("corpus; filename=a", TEXT) + "--x--\\r\\n"
    ask(202, "POST", "/train", body, **{"Content-Type": "multipart/form-data; boundary=x"})
    ask(202, "POST", f"/jobs/{job}/cancel")
    ask(200, "GET", f"/jobs/{job}/events")
    for accept in ("text/plain", "text/event-stream", "application/json"):
        ask(200, "GET", "/sample?model=linux&length=9&top_p=0.9&stop=zz", Accept=accept)
    ask(200, "GET", "/names?model=names&count=2")
    ask(200, "GET", "/models/linux/cells")
    asked("/models/linux/inspect", {"text": "int a;"})
    asked("/score", {"text": "int a;", "models": ["linux"]})
    asked("/v1/completions", {"model": "linux", "prompt": "a", "max_tokens": 3, "stream": True})
    asked("/api/generate", {"model": "linux", "prompt": "a", "options": {"num_predict": 3}})
    zipped = ask(200, "GET", "/models/linux/download")
    ask(200, "GET", "/models/linux/download?format=onnx")
    ask(201, "POST", "/models/copy", zipped, **ZIP)
    ask(204, "DELETE", "/models/copy")
    print(*sorted(set(sys.modules) - before))
"""


def test_no_request_imports_anything(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split() == []
