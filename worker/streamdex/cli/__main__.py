"""`python -m streamdex.cli`: the command, where its script is not on the path."""

from streamdex.cli import main

main()
