"""The models that the package brings: trained by their recipes, and written into src/beit/included in bf16.

    python benchmarks/train_shipped.py                    # train what is missing, about an hour of one core, and write
    python benchmarks/train_shipped.py --pretrained RUN   # take a finished pre-training and its tokenizer

A k-means tokenizer by recipes/kmeans_cifar10.yaml and a BEiT by recipes/pretrain_cifar10_nano.yaml. Stopped, it
continues. The cards, README.md in the folders, are written by hand; a test measures again what they say.
"""

import argparse
import shutil
from pathlib import Path

import torch

from beit import BeitForMaskedImageModeling, load_tokenizer
from beit.hub.included import FOLDER
from headline_trainings import pretraining
from peers import ROOT

BESIDE = ("preprocessor_config.json", "features.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pretrained", type=Path, help="run folder of a pre-training; default: it is run")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "shipped", help="where the runs are kept")
    given = parser.parse_args()
    before = pretraining(given.pretrained, given.runs.resolve())
    model = FOLDER / "nano-cifar10"
    BeitForMaskedImageModeling.from_pretrained(before.model).to(torch.bfloat16).save_pretrained(model)
    for name in BESIDE:
        shutil.copy(before.model / name, model / name)
    load_tokenizer(ROOT / before.recipe["tokenizer"]["path"]).save_pretrained(FOLDER / "nano-cifar10-tokens")
    for file in sorted(FOLDER.rglob("*.*")):
        print(f"{file.stat().st_size:>10,}  {file.relative_to(FOLDER)}")


if __name__ == "__main__":
    main()
