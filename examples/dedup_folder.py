"""Find pictures of a folder that show the same: copies, other sizes, small crops, other compression.

    python examples/dedup_folder.py microsoft/beit-base-patch16-224 my_pictures/ duplicates.csv
    python examples/dedup_folder.py microsoft/beit-base-patch16-224 my_pictures/ duplicates.csv --move aside/

A line of the CSV names a picture, the larger one that it repeats, and how similar they are. Nothing is deleted; --move
moves the repetitions. Needs beit alone.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

from beit import Predictor
from beit.image import picture_files

parser = argparse.ArgumentParser(description="Find pictures of a folder that show the same.")
parser.add_argument("model")
parser.add_argument("folder")
parser.add_argument("output")
parser.add_argument("--least", type=float, default=0.95, help="smallest similarity, up to 1, of the same picture")
parser.add_argument("--move", type=Path, help="folder to move repetitions to")
given = parser.parse_args()


def pixels(path):
    with Image.open(path) as picture:
        return picture.width * picture.height


pictures = sorted((Path(path) for path in picture_files(given.folder)), key=lambda path: (-pixels(path), str(path)))
features = np.stack([answer.vector for answer in Predictor.from_pretrained(given.model).embed(pictures)])
features -= features.mean(0)  # what all pictures share says nothing
unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)

kept, repeated = [], []  # the larger pictures come first, so a repetition is never larger than what it repeats
for index, vector in enumerate(unit):
    likeness = unit[kept] @ vector if kept else np.zeros(1)
    if likeness.max() < given.least:
        kept.append(index)
    else:
        repeated.append((pictures[index], pictures[kept[int(likeness.argmax())]], float(likeness.max())))

with open(given.output, "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(("picture", "repeats", "similarity"))
    rows.writerows((picture, original, f"{likeness:.4f}") for picture, original, likeness in repeated)
for picture, *_ in repeated if given.move else ():
    place = given.move / picture.relative_to(given.folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    picture.rename(place)
print(f"{len(pictures)} pictures, {len(repeated)} repeat another: {given.output}")
