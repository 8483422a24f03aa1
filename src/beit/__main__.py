"""Entry point of `python -m beit`, the same as the `beit` command."""

from beit.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
