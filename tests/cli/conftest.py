"""A teacher on the loopback that knows its tasks, and a runner of real `errata` processes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

TASKS = 6


class Teacher(ThreadingHTTPServer):
    """An OpenAI-compatible server: two cells, one of them failing, then the right answer. Counts what it sells."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sold: Counter[tuple[str, int]] = Counter()
        self.seconds = 0.2
        self.broken: set[str] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def name(self) -> str:
        return f"openai:known@http://127.0.0.1:{self.server_address[1]}/v1"

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def answer(self, body: Any) -> tuple[int, dict[str, Any]]:
        time.sleep(self.seconds)
        task = body["messages"][1]["content"]
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        number = int(re.search(r"number (\d+)", task)[1])  # type: ignore[index]
        if str(number) in self.broken:
            return 400, {"error": {"message": "this task is not for sale", "type": "invalid_request_error"}}
        self.sold[task, turn] += 1
        text = [
            f"<execute>total = {number} * 2\nprint(total)</execute>",
            "<execute>print(totl)</execute>",
            "<execute>print(total)</execute>",
            f"<solution>{number * 2}</solution>",
        ][turn]
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return 200, {"id": f"c{number}-{turn}", "model": "known-1", "choices": [choice], "usage": usage}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Teacher

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, answer = self.server.answer(body)
        sent = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # The collector was killed while we answered.

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    server = Teacher()
    yield server
    server.close()


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    file = tmp_path / "tasks.jsonl"
    rows = [
        {"id": str(n), "question": f"What is twice the number {n}?", "answer": f"Twice.\n#### {2 * n}"}
        for n in range(11, 11 + TASKS)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


class Errata:
    """Runs `errata` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
            "NO_PROXY": "127.0.0.1",
            "COLUMNS": "200",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "cli", *arguments]
        environ = {**self.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        return subprocess.Popen(
            command, cwd=self.folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.fixture
def errata(tmp_path: Path) -> Errata:
    return Errata(tmp_path)
