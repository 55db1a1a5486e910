"""The other side of ALFWorld: a server that has imported TextWorld once and forks a process for each game.

A program of its own, `python -m environments.alfworld_process FD`. Nothing here runs in the host: the engine
swaps `sys.stdout`, overwrites `sys.argv` and holds its state in globals of a C library, one game a process.
"""
