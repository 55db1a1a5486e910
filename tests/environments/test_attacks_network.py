"""Attacks on whoever can be talked to: on the loopback, by a Unix socket, or in the system itself."""

import pytest

from environments.kernels import KernelSession
from tests.environments.attacks import carry_out, claims
from tests.environments.attacks_decoys import Decoys

pytestmark = pytest.mark.asyncio(loop_scope="module")

TALKING = {
    "by TCP": "socket.create_connection(decoy['tcp'], 5)",
    "by TCP over IPv6": "socket.create_connection(decoy.get('tcp6', ('::1', 9))[:2], 5)",
    "by UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'?', decoy['udp'])",
    "as a question for an address": (
        "question = bytes.fromhex('abcd01000001000000000000076578616d706c65036f72670000010001')\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(question, decoy['udp'])"
    ),
    "by fast open": "socket.socket().sendto(b'?', 0x20000000, decoy['tcp'])",
    "by a Unix socket": "socket.socket(socket.AF_UNIX).connect(decoy['unix'])",
    "by a datagram to a Unix socket": (
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'?', decoy['datagrams'])"
    ),
    "by a datagram of a pair": (
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'?', decoy['datagrams'])"
    ),
    "by an abstract socket": "socket.socket(socket.AF_UNIX).connect(decoy['abstract'])",
    "by an abstract socket, as a child": ("in_child(lambda: socket.socket(socket.AF_UNIX).connect(decoy['abstract']))"),
    "as a program": (
        "import subprocess, sys\nprogram = f\"import socket; socket.create_connection({decoy['tcp']!r}, 5)\"\n"
        "subprocess.run([sys.executable, '-c', program], check=True, capture_output=True)"
    ),
}


@pytest.mark.parametrize("code", TALKING.values(), ids=TALKING)
async def test_nobody_can_be_talked_to(attacker: KernelSession, level: str, decoys: Decoys, code: str) -> None:
    before = decoys.listeners.contacts
    await carry_out(f"import socket\n{code}", attacker, level, "network")
    assert decoys.listeners.contacts == before or not claims(level, "network")


OPENING = {
    "a listener": "here = socket.socket(); here.bind(('127.0.0.1', 0)); here.listen()",
    "an abstract listener": "socket.socket(socket.AF_UNIX).bind('\\0mine')",
    "the system's routes": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))",
    "the system's audit": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9).bind((0, 0))",
    "the system's events": "socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15).bind((0, 1))",
    "raw packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x300)",
    "raw messages": "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    "pings": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)",
    "the machine's host": "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "the system's ciphers": "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "Bluetooth": "socket.socket(31, socket.SOCK_RAW, 1)",
    "the names of interfaces": "socket.if_nameindex()",
}


@pytest.mark.parametrize("code", OPENING.values(), ids=OPENING)
async def test_no_socket_can_be_made(attacker: KernelSession, level: str, code: str) -> None:
    await carry_out(f"import socket\n{code}", attacker, level, "network")


async def test_a_pair_of_sockets_still_serves_a_cells_own_processes(attacker: KernelSession, level: str) -> None:
    if level == "landlock":
        pytest.skip("a pool needs semaphores, which are files of /dev/shm: here that is the machine's")
    work = (
        "import multiprocessing\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, -2]))"
    )
    assert (await attacker.run(work)).stdout == "[1, 2]\n"
