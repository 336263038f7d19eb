"""`python -m services.cli` is the `shiplog` command."""

from services.cli.main import main

main()
