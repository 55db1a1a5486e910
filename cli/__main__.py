"""`python -m cli`, the same as `errata`."""

from cli.main import main

main()
