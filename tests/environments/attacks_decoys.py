"""What the attacks are after: secrets in files, memory and an environment, and whoever can be talked to.

All of it may be read by every user of the machine, so that no file mode stands in for isolation.
"""

import asyncio
import ctypes
import hashlib
import os
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from store.store import open_store

ROOT = Path(__file__).resolve().parents[2]
SECRET = f"sk-planted-{secrets.token_hex(12)}"
INSIDE = Path(__file__).with_name("attacks_inside.py").read_text("utf-8")

VICTIM = """
import ctypes, os, signal, sys
secret = ctypes.create_string_buffer(os.environ["OPENAI_API_KEY"].encode())
opened = open(sys.argv[1])
signal.signal(signal.SIGURG, lambda *_: os.write(1, b"!"))
print(ctypes.addressof(secret), opened.fileno(), flush=True)
while True:
    signal.pause()
"""


class Listeners:
    """Whoever can be reached: by TCP, UDP, a socket in the file system and one without a file."""

    def __init__(self, folder: Path) -> None:
        self.contacts = 0
        self._selector = selectors.DefaultSelector()
        self._leaving = socket.socketpair()
        self._selector.register(self._leaving[0], selectors.EVENT_READ)
        self.told: dict[str, Any] = {}
        tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
        self._listen("tcp", socket.AF_INET, tcp, ("127.0.0.1", 0))
        self._listen("udp", socket.AF_INET, udp, ("127.0.0.1", 0))
        with suppress(OSError):  # a machine may have no IPv6
            self._listen("tcp6", socket.AF_INET6, tcp, ("::1", 0))
        self._listen("unix", socket.AF_UNIX, tcp, str(folder / "listener"))
        self._listen("datagrams", socket.AF_UNIX, udp, str(folder / "datagrams"))
        self._listen("abstract", socket.AF_UNIX, tcp, f"\0{folder}")
        for path in ("listener", "datagrams"):
            (folder / path).chmod(0o777)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _listen(self, name: str, family: int, kind: int, address: Any) -> None:
        listener = socket.socket(family, kind)
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        self._selector.register(listener, selectors.EVENT_READ)
        bound = listener.getsockname()
        self.told[name] = os.fsdecode(bound) if isinstance(bound, bytes) else bound

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                listener: Any = key.fileobj
                if listener is self._leaving[0]:
                    return
                self.contacts += 1
                if listener.type == socket.SOCK_DGRAM:
                    listener.recv(100)
                else:
                    connection, _ = listener.accept()
                    connection.close()

    def close(self) -> None:
        self._leaving[1].send(b"!")
        self._thread.join()
        for key in [*self._selector.get_map().values()]:
            key.fileobj.close()  # type: ignore[union-attr]
        self._leaving[1].close()
        self._selector.close()


class Decoys:
    """What the attacks are after. All of it may be read by every user of the machine: no file mode protects it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.folders = [self._folder(place) for place in ("/tmp", "/var/tmp", "/dev/shm") if os.access(place, os.W_OK)]
        self.home = self.folders[0] / "home"
        key = self.home / ".ssh/id_ed25519"
        for file in (key, *(folder / "secret" for folder in self.folders)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(SECRET)
        self.listeners = Listeners(self.folders[0])
        stack.callback(self.listeners.close)
        self.victim = self._victim(key)
        assert self.victim.stdout is not None
        address, descriptor = self.victim.stdout.readline().split()
        os.set_blocking(self.victim.stdout.fileno(), False)
        self.store = self.folders[0] / "errata.db"
        self.memory = self._shared_memory()
        self.told: dict[str, Any] = self.listeners.told | {
            "digest": hashlib.sha256(SECRET.encode()).hexdigest(),
            "file": str(key),
            "files": [str(folder / "secret") for folder in self.folders],
            "home": next((str(path) for path in Path.home().iterdir() if path.is_file()), ""),
            "store": str(self.store),
            "project": str(ROOT),
            "site": sysconfig.get_path("purelib"),
            "device": Path("/").stat().st_dev,
            "victim": self.victim.pid,
            "address": int(address),
            "descriptor": int(descriptor),
            "tests": os.getpid(),
            "memory": self.memory,
        }

    @property
    def inside(self) -> str:
        """A kernel's setup."""
        return f"{INSIDE}\ndecoy.update({self.told!r})"

    def signalled(self) -> bool:
        """Whether the victim has had a signal since it was last asked."""
        assert self.victim.stdout is not None
        return bool(self.victim.stdout.read())

    def _folder(self, place: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="decoys-", dir=place))
        self._stack.callback(shutil.rmtree, folder)
        folder.chmod(0o777)
        return folder

    def _victim(self, key: Path) -> subprocess.Popen[bytes]:
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, key],
            stdout=subprocess.PIPE,
            env={"OPENAI_API_KEY": SECRET},
            start_new_session=True,
        )

        def end() -> None:
            victim.kill()
            victim.wait()
            assert victim.stdout is not None
            victim.stdout.close()

        self._stack.callback(end)
        return victim

    def _shared_memory(self) -> int:
        """The key of a System V segment that holds the secret."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        key = secrets.randbits(30)
        number = libc.shmget(key, 4096, 0o1666)  # IPC_CREAT
        place = libc.shmat(number, None, 0)
        self._stack.callback(libc.shmctl, number, 0, None)  # IPC_RMID
        ctypes.memmove(place, SECRET.encode(), len(SECRET))
        libc.shmdt(ctypes.c_void_p(place))
        return key


async def _create_store(path: Path) -> None:
    async with open_store(f"sqlite:///{path}", create=True):
        pass


@contextmanager
def planted() -> Iterator[Decoys]:
    with ExitStack() as stack:
        decoys = Decoys(stack)
        asyncio.run(_create_store(decoys.store))
        for file in decoys.store.parent.glob("errata.db*"):
            file.chmod(0o666)
        yield decoys
