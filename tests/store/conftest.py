"""The stores that tests run on: a SQLite file always, and a real Postgres where its server is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _server_programs() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent  # one folder holds the server and its tools
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Postgres:
    """A server of our own, on the loopback, for as long as the tests last. It refuses to run as root."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._as = ["su", "postgres", "-s", "/bin/sh", "-c"] if os.geteuid() == 0 else ["/bin/sh", "-c"]
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._run("initdb", f"-D {folder}/data -A trust -U errata")
        # A test server may forget what it holds: it has no need to be durable.
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
        self._run("pg_ctl", f"-D {folder}/data -l {folder}/log -w -o '{options}' start")
        self._made = 0

    def new_address(self) -> str:
        self._made += 1
        name = f"test{self._made}"
        self._run("createdb", f"-h 127.0.0.1 -p {self._port} -U errata {name}")
        return f"postgresql://errata@127.0.0.1:{self._port}/{name}"

    def stop(self) -> None:
        self._run("pg_ctl", f"-D {self._folder}/data -m immediate stop")

    def _run(self, program: str, arguments: str) -> None:
        # Its output goes nowhere: the server would hold our pipe open for as long as it lives.
        command = [*self._as, f"cd / && {self._programs / program} {arguments} >/dev/null 2>&1"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = _server_programs()
    if programs is None:
        pytest.skip("no Postgres server is installed here")
    # Not beneath pytest's folder, which each session that begins shuts against other users.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(programs, Path(folder))
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'errata.db'}"
    return str(request.getfixturevalue("postgres").new_address())
