"""`python -m trackside` is the command `trackside`."""

from trackside.command import main

main()
