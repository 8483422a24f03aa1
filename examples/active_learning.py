"""One round of active learning: fine-tune on the labels so far, and choose the pictures that are worth a label next.

    python examples/active_learning.py microsoft/beit-base-patch16-224-pt22k pictures/ labels.csv rounds/1

labels.csv has columns file_name (below pictures/) and label; the first round goes without it. Every round writes 20
pictures to its to_label.csv, far from all labelled ones and from each other, with the label of the nearest of those.
Correct them, add them to labels.csv, and give the next round another folder. Needs beit with its extra `train`.
"""

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from beit import Predictor
from beit.image import picture_files
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import DataSettings, OptimSettings, RunSettings, TrainSettings
from beit.tasks.finetune.task import finetune

PER_ROUND = 20
model, folder, label_file, output = sys.argv[1:]
Path(output).mkdir(parents=True, exist_ok=True)


def write(name, rows):
    with open(Path(output, name), "w", newline="") as file:
        csv.writer(file).writerows([("file_name", "label"), *rows])
    return str(Path(output, name))


labelled = {}
if Path(label_file).exists():
    with open(label_file, newline="") as file:
        labelled = {row["file_name"]: row["label"] for row in csv.DictReader(file)}
    learnt, held_out, left = [], [], Counter(labelled.values())
    for row in labelled.items():  # a fifth is held out, and every class keeps a picture to learn from
        out = left[row[1]] > 1 and 4 * len(held_out) < len(learnt)
        left[row[1]] -= out
        (held_out if out else learnt).append(row)
    job = FinetuneJob(
        data=DataSettings(folder, write("learnt.csv", learnt), val_path=folder, val_labels=write("val.csv", held_out)),
        run=RunSettings(output=f"{output}/run"),
        checkpoint=model,
        optim=OptimSettings(warmup_steps=10),
        train=TrainSettings(batch_size=16, max_steps=200),
    )
    run = finetune(job)
    print(f"{len(labelled)} labels: accuracy on held-out ones {run.read_result()['accuracy']:.3f}")
    model = run.model

pictures = [str(Path(path).relative_to(folder)) for path in picture_files(folder)]
answers = Predictor.from_pretrained(model).embed([Path(folder, name) for name in pictures])
features = np.stack([answer.vector for answer in answers])
features -= features.mean(0)
unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)

known = [index for index, name in enumerate(pictures) if name in labelled]
nearest = (unit @ unit[known].T).max(1) if known else unit @ unit.mean(0)  # similarity to the nearest labelled picture
chosen = []
for _ in range(min(PER_ROUND, len(pictures) - len(known))):
    nearest[known + chosen] = np.inf
    chosen.append(int(nearest.argmin()))
    nearest = np.maximum(nearest, unit @ unit[chosen[-1]])

like = [labelled[pictures[known[int((unit[known] @ unit[index]).argmax())]]] if known else "" for index in chosen]
place = write("to_label.csv", [(pictures[index], label) for index, label in zip(chosen, like, strict=True)])
print(f"{len(chosen)} pictures to label: {place}")
