"""Makes `python -m mambair_cli` the same as `mambair`."""

from mambair_cli.cli.main import main

main()
