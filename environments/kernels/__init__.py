"""Live Python sessions for a teacher's code: one IPython kernel per trajectory.

`KernelHost` holds what a run's kernels share, `KernelSession` is one trajectory's Python. Importing
this package imports neither zmq nor jupyter_client; the first session does.
"""

from environments.kernels.host import KernelHost
from environments.kernels.isolation import choose_isolation
from environments.kernels.limits import Limits
from environments.kernels.session import KernelSession

__all__ = ["KernelHost", "KernelSession", "Limits", "choose_isolation"]
