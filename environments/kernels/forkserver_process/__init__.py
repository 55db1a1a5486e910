"""The other side: a server that forks kernels, and the walls it raises around them and itself.

A program of its own, `python -m environments.kernels.forkserver_process`. Nothing here runs in the host.
"""
