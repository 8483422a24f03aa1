"""Labels beside a few pictures, and what is read of them."""

import json

import numpy as np

from beit.data import open_source, with_labels

FILES = ("cat/1.png", "dog/1.png", "dog/2.jpg", "dog/été 3.png")


def labelled(folder, content, name="labels.csv", **options):
    file = folder.parent / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, list):
        file.write_text("\n".join(map(json.dumps, content)))
    else:
        file.write_text(content, encoding="utf-8")
    return with_labels(open_source(str(folder)), str(folder), str(file), **options)


def meaning(source):
    """The labels of every picture by the last part of its path."""
    found = {}
    for index in range(len(source)):
        row = source.labels[index]
        if source.label_kind == "class":
            found[source.name(index).rpartition("/")[2]] = source.classes[row]
        else:
            found[source.name(index).rpartition("/")[2]] = [source.classes[place] for place in np.flatnonzero(row)]
    return found
