"""The `beit` command: parse, call, print. One short file per command."""
