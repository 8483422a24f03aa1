"""Print the most likely class of every picture in a folder, as CSV.

    python examples/classify_folder.py microsoft/beit-base-patch16-224 my_pictures/ > classes.csv

A broken picture ends it with its path. `beit predict` names broken ones and goes on, and takes films and tar files too.
Needs beit alone.
"""

import csv
import sys

from beit import Predictor
from beit.image import picture_files

model, folder = sys.argv[1:]
predictor = Predictor.from_pretrained(model)
pictures = picture_files(folder)

table = csv.writer(sys.stdout)
table.writerow(["picture", "class", "probability"])
for picture, answer in zip(pictures, predictor.classify(pictures, top_k=1), strict=True):
    table.writerow([picture, answer.label, f"{answer.probabilities[0]:.3f}"])
