"""Attacks on files: to read what lies outside, to change it, and to find descriptors that lead there."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from environments.kernels import KernelHost, KernelSession
from tests.environments.attacks import assert_goes_on, carry_out, claims, judge_unclaimed
from tests.environments.attacks_decoys import ROOT, Decoys

pytestmark = pytest.mark.asyncio(loop_scope="module")

READING = {
    "a key in a home folder": "print(open(decoy['file']).read())",
    "a key in the home folder of whom the tests run as": "open(decoy['home']).read(1)",
    "files in every folder that all may write to": "print(search(*decoy['files']))",
    "the passwords": "open('/etc/shadow').read(1)",
    "up from the working folder": "print(open('../' * 40 + decoy['file']).read())",
    "by /proc/self/root": "print(open('/proc/self/root' + decoy['file']).read())",
    "by /proc/self/cwd": "print(open('/proc/self/cwd/' + '../' * 40 + decoy['file']).read())",
    "by the first process's root": "print(open('/proc/1/root' + decoy['file']).read())",
    "by another's root": "print(open(f\"/proc/{decoy['victim']}/root\" + decoy['file']).read())",
    "by a symbolic link": "os.symlink(decoy['file'], 'link'); print(open('link').read())",
    "by a hard link": "os.link(decoy['file'], 'hard'); print(open('hard').read())",
    "by a path's descriptor": "print(open(f\"/proc/self/fd/{os.open(decoy['file'], os.O_PATH)}\").read())",
    "by a program": "import subprocess; subprocess.run(['cat', decoy['file']], check=True)",
    "by its folder": (
        "folder = os.open(os.path.dirname(decoy['file']), os.O_RDONLY)\nos.open('id_ed25519', 0, dir_fd=folder)"
    ),
    "the names in a folder": "os.listdir(os.path.dirname(decoy['file']))",
    "what happens to a file": (
        "checked(libc.inotify_add_watch(libc.inotify_init(), os.fsencode(decoy['files'][0]), 0xFFF))"
    ),
    "the disk": (
        "import stat\nos.path.lexists('disk') and os.remove('disk')\n"
        "os.mknod('disk', 0o600 | stat.S_IFBLK, decoy['device'])\nopen('disk', 'rb').read(512)"
    ),
    "the disk by its name": (
        "any_of(glob.glob('/dev/[svn][dv]*') or ['/dev/sda'], lambda path: open(path, 'rb').read(512))"
    ),
    "the machine's memory": "any_of(['/dev/mem', '/dev/port', '/proc/kcore'], lambda path: open(path, 'rb'))",
    "the system's messages": "any_of(['/dev/kmsg', '/proc/kmsg'], lambda path: os.open(path, os.O_RDONLY))",
    "by handle": (
        "handle = ctypes.create_string_buffer(bytes([16]) + bytes(150))\n"
        "call('name_to_handle_at', -100, os.fsencode(decoy['file']), handle, ctypes.byref(ctypes.c_int()), 0)\n"
        "os.read(call('open_by_handle_at', os.open('/', os.O_RDONLY), handle, 0), 100)"
    ),
    "the store": (
        "import sqlite3\naddress = f\"file:{decoy['store']}?mode=ro\"\n"
        "sqlite3.connect(address, uri=True).execute('select * from runs').fetchall()"
    ),
    "the graders": "open(decoy['project'] + '/environments/graders/answers.py').read()",
    "the graders, imported": "import sys; sys.path.insert(0, decoy['project']); import environments.graders.answers",
    "the store's code, imported": "import sys; sys.path.insert(0, decoy['project']); import store.store",
    "tests and references": "open(decoy['project'] + '/environments/demo/math.jsonl').read()",
    "the system's settings": (
        "names = 'kernel/core_pattern', 'vm/drop_caches', 'kernel/hostname'\n"
        "any_of([f'/proc/sys/{name}' for name in names], lambda path: os.open(path, os.O_WRONLY))"
    ),
    "its own bounds": (
        "names = 'memory.*limit_in_bytes', '*.max', 'tasks'\n"
        "paths = [path for name in names for path in glob.glob(f'/sys/fs/cgroup/**/{name}', recursive=True)]\n"
        "any_of(paths or ['/sys/fs/cgroup/tasks'], lambda path: os.open(path, os.O_WRONLY))"
    ),
}


@pytest.mark.parametrize("code", READING.values(), ids=READING)
async def test_what_lies_outside_cannot_be_read(attacker: KernelSession, level: str, code: str) -> None:
    await carry_out(code, attacker, level, "files")


# -- changing ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    folder: Path
    """With a file and an empty folder in it, which anyone may change."""

    def seen(self) -> object:
        entries = sorted(self.folder.rglob("*"))
        stats = [os.lstat(entry) for entry in [self.folder, *entries]]
        attributes = [os.listxattr(entry) for entry in entries if entry.is_file()]
        return entries, attributes, [(stat.st_mode, stat.st_uid, stat.st_size, stat.st_mtime_ns) for stat in stats]


@pytest.fixture
def target() -> Iterator[Target]:
    folder = Path(tempfile.mkdtemp(prefix="target-", dir="/var/tmp"))
    (folder / "file").write_text("as it was")
    (folder / "empty").mkdir()
    for path in (folder, *folder.iterdir()):
        path.chmod(0o777)
    yield Target(folder)
    shutil.rmtree(folder)


CHANGING = {
    "appended to": "open(file, 'a').write('!')",
    "emptied": "os.truncate(file, 0)",
    "removed": "os.remove(file)",
    "moved away": "os.rename(file, 'mine')",
    "renamed": "os.rename(file, file + '2')",
    "replaced": "open('own', 'w'); os.replace('own', file)",
    "given another mode": "os.chmod(file, 0o600)",
    "made older": "os.utime(file, (1, 1))",
    "given away": "os.chown(file, 4321, 4321)",
    "given an attribute": "os.setxattr(file, 'user.mark', b'x')",
    "a new file": "open(folder + '/new', 'w')",
    "a new folder": "os.mkdir(folder + '/new')",
    "a new link": "os.symlink('file', folder + '/new')",
    "a new name": "os.link(file, folder + '/new')",
    "a new pipe": "os.mkfifo(folder + '/new')",
    "a removed folder": "os.rmdir(folder + '/empty')",
}


@pytest.mark.parametrize("code", CHANGING.values(), ids=CHANGING)
async def test_what_lies_outside_cannot_be_changed(
    attacker: KernelSession, level: str, target: Target, code: str
) -> None:
    before = target.seen()
    result = await attacker.run(f"folder = {str(target.folder)!r}; file = folder + '/file'\n{code}")
    judge_unclaimed(result, level, "files")
    assert (target.seen() == before) == claims(level, "files")
    assert result.failed == claims(level, "files")
    await assert_goes_on(attacker)


# Of a file that a kernel may open to read. The flags are FS_IOC_SETFLAGS, that it be left out of dumps.
OF_AN_OPEN_FILE = {
    "its mode": "os.fchmod(file, 0o600)",
    "its age": "os.utime(file, (1, 1))",
    "its owner": "os.fchown(file, os.getuid(), os.getgid())",
    "its attributes": "os.setxattr(file, 'user.mark', b'x')",
    "its flags": "import fcntl; fcntl.ioctl(file, 0x40086602, (0x40).to_bytes(8, 'little'))",
}


@pytest.mark.parametrize("code", OF_AN_OPEN_FILE.values(), ids=OF_AN_OPEN_FILE)
async def test_what_can_be_read_cannot_be_changed(
    attacker: KernelSession, level: str, decoys: Decoys, code: str
) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix="decoy-", dir=decoys.told["site"])
    except OSError:
        pytest.skip("this Python's own folders are not the user's")
    try:
        os.fchmod(handle, 0o644)
        os.close(handle)
        await carry_out(f"file = os.open({name!r}, os.O_RDONLY)\n{code}", attacker, level, "files")
    finally:
        Path(name).unlink()


PLACES = ["/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/usr/local", "/etc", "SITE", "PREFIX", "PROJECT", "HOME"]


@pytest.mark.parametrize("place", PLACES)
async def test_nothing_can_be_left_where_the_machine_would_see_it(
    attacker: KernelSession, level: str, decoys: Decoys, place: str
) -> None:
    known = {"SITE": decoys.told["site"], "PREFIX": str(Path(os.__file__).parent), "PROJECT": str(ROOT)}
    left = Path(known.get(place) or (Path.home() if place == "HOME" else place)) / f"left-{os.getpid()}"
    try:
        result = await attacker.run(f"open({str(left)!r}, 'w')")
        judge_unclaimed(result, level, "files")
        # A kernel may have a folder of that name that nobody else sees.
        assert left.exists() == (not claims(level, "files"))
    finally:
        left.unlink(missing_ok=True)
    await assert_goes_on(attacker)


# -- descriptors -------------------------------------------------------------------------------

ESCAPES = """
import stat
def leads_outside(number):
    if stat.S_ISDIR(os.fstat(number).st_mode):
        try:
            os.close(os.open(os.path.dirname(decoy['file']), os.O_RDONLY, dir_fd=number))
            return True
        except OSError:
            pass
    target = os.readlink(f'/proc/self/fd/{number}')
    return target.startswith('/') and not target.startswith(('/dev/null', '/dev/urandom'))
held = [number for number in range(3, 1024) if os.path.lexists(f'/proc/self/fd/{number}')]
[os.readlink(f'/proc/self/fd/{number}') for number in held if leads_outside(number)]
"""


async def test_no_descriptor_that_a_kernel_holds_leads_outside(host: KernelHost, level: str, decoys: Decoys) -> None:
    if not claims(level, "files"):
        pytest.skip(f"level {level} does not claim 'files'")
    async with await host.session(setup=decoys.inside) as session:
        result = await session.run(ESCAPES)
    assert result.value == "[]", result
