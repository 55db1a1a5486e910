"""Imports TextWorld once, then forks a process whenever it is asked for a game.

Run as `python -m environments.alfworld_process FD`, FD being a Unix socket of packets. No secret is in here: the
expressions in a game's grammar are Python, and run in the forked process.
"""

import gc
import os
import resource
import sys
from socket import socket

from environments.alfworld_process.server import die_with_parent, serve


def main(descriptor: int) -> None:
    die_with_parent()
    leave_project()
    # Imported late: it is to find none of our folders, and to be there before the first fork.
    from environments.alfworld_process.engine import play, warm_up

    warm_up()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A collection in a game would write to all that was made here, and so copy it.
    gc.collect()
    gc.freeze()
    channel = serve(socket(fileno=descriptor))
    if channel is not None:
        play(channel)


def leave_project() -> None:
    del sys.path[0]  # the folder we were started in, to be found
    os.chdir("/")


if __name__ == "__main__":
    main(int(sys.argv[1]))
