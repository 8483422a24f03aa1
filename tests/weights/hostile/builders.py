"""The list of hostile files, and what their builders share."""

import pickle
from pathlib import Path

HOSTILE = {}  # name -> builder(folder) -> path
REASONS = {}  # name -> pattern of the message
MIB = 2**20


def hostile(reason):
    def register(builder):
        HOSTILE[builder.__name__] = builder
        REASONS[builder.__name__] = reason
        return builder

    return register


def write(folder, name, content):
    path = Path(folder) / name
    path.write_bytes(content)
    return path


def pickled(folder, *parts):
    return write(folder, "file.pkl", b"\x80\x02" + b"".join(parts) + b".")


def value(data):
    """The instructions that build a plain value."""
    return pickle.dumps(data, 2)[2:-1]


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def call(function, *arguments):
    return function + b"(" + b"".join(arguments) + b"tR"


SYSTEM = name("posix", "system")
TOUCH = value('touch "$BEIT_EVIL_MARKER"')
