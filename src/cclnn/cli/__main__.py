"""`python -m cclnn.cli` is the `cclnn` command."""

from cclnn.cli import main

main()
