"""As much of the Hugging Face Hub as reading a data set takes, on the loopback."""

import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SHA = "5" * 40


class Hub(ThreadingHTTPServer):
    """Holds one data set. `asked` is every request's path, unquoted."""

    daemon_threads = True

    def __init__(self, name: str, revision: str, files: Mapping[str, bytes], licence: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name, self.revision, self.files, self.licence = name, revision, files, licence
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def answer(self, path: str) -> tuple[int, object]:
        """JSON for the API, bytes for a file."""
        revision = f"(?:{self.revision}|{SHA})"
        if path == f"/api/datasets/{self.name}":
            # The card stands on the main branch alone.
            return 200, self._info() | {"cardData": {"license": self.licence}}
        if re.fullmatch(f"/api/datasets/{self.name}/revision/{revision}", path):
            return 200, self._info()
        tree = re.fullmatch(f"/api/datasets/{self.name}/tree/{revision}/?(.*)", path)
        if tree:
            return 200, self._entries(tree[1])
        found = re.fullmatch(f"/datasets/{self.name}/resolve/{revision}/(.+)", path)
        return (200, self.files[found[1]]) if found and found[1] in self.files else (404, {"error": "not found"})

    def _info(self) -> dict[str, object]:
        return {"id": self.name, "sha": SHA, "private": False, "gated": False, "disabled": False, "tags": [],
                "downloads": 0, "likes": 0, "siblings": [{"rfilename": name} for name in self.files]}  # fmt: skip

    def _entries(self, folder: str) -> list[dict[str, object]]:
        """All below the folder: a client that asked for less passes over the rest."""
        inside = {name: len(content) for name, content in self.files.items() if name.startswith(folder)}
        parts = [name.split("/") for name in inside]
        folders = {"/".join(part[:depth]) for part in parts for depth in range(1, len(part))}
        wanted = [name for name in sorted(folders) if name.startswith(folder) and name != folder]
        return [{"type": "directory", "path": name, "oid": SHA} for name in wanted] + [
            {"type": "file", "path": name, "size": size, "oid": SHA} for name, size in inside.items()
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        status, found = self.server.answer(path)
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        whole = len(content)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if span and status == 200:
            first, last = int(span[1]), min(int(span[2] or whole), whole - 1)
            content, status = content[first : last + 1], 206
        self.send_response(status)
        if status == 206:
            self.send_header("content-range", f"bytes {first}-{last}/{whole}")
        if status == 404:
            self.send_header("x-error-code", "EntryNotFound" if "/resolve/" in path else "RepoNotFound")
        self.send_header("content-length", str(len(content)))
        self.send_header("etag", '"1"')
        self.send_header("x-repo-commit", SHA)
        self.send_header("accept-ranges", "bytes")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - the server's own name

    def log_message(self, *args: object) -> None:
        return
