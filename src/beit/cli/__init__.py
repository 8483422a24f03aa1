"""Command line `beit`: parse, call, print; one short file per command."""
