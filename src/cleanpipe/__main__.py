"""`python -m cleanpipe`: the same verbs as the command `cleanpipe`."""

from cleanpipe.cli.cli import main

main()
