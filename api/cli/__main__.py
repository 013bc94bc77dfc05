"""`python -m api.cli`: the same as `heliograph`."""

from api.cli import main

main()
