"""The models that the package brings: trained by their recipes, and written into src/beit/included in bf16.

    python benchmarks/train_shipped.py                    # train what is missing, three hours of one core, and write
    python benchmarks/train_shipped.py --pretrained RUN   # take a finished pre-training and its tokenizer
    python benchmarks/train_shipped.py --classifier RUN   # take a finished fine-tuning of it
    python benchmarks/train_shipped.py --streets FOLDER   # take what benchmarks/camvid.py has trained there

A k-means tokenizer by recipes/kmeans_cifar10.yaml, a BEiT by recipes/pretrain_cifar10_nano.yaml, a classifier that is
the headline's fine-tuning with all labels, seed 0, and the segmentation model of benchmarks/camvid.py that was
pre-trained. Stopped, it continues. The cards, README.md in the folders, are written by hand; a test measures again what
they say.
"""

import argparse
import shutil
from pathlib import Path

import torch

import camvid
from beit import (
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
    load_tokenizer,
)
from beit.hub.repository import INCLUDED
from beit.models_torch.masked_patch_decoder import DECODER_NAME, MaskedPatchDecoder
from headline_trainings import CANDIDATES, arguments, pretraining
from peers import ROOT
from trainings import train

BESIDE = ("preprocessor_config.json", "features.json", "scene_inference.json")


def classifier(before, runs):
    """Return the folder of the classifier that is fine-tuned from a pre-training, after running it."""
    folder = runs / "classifier"
    train([(folder, arguments("pretrained", "100%", 0, CANDIDATES["pretrained"][0], before))])
    return folder / "model"


def segmenter(runs):
    """Return the folder of the segmentation model, after pre-training and training it if need be."""
    start, _ = camvid.starts(camvid.pretraining(runs))["pretrained"]
    train([(runs / "pretrained", camvid.segmentation(start))])
    return runs / "pretrained" / "model"


def ship(kind, source, name):
    """Write a model in bf16 into the package, with what lies beside it."""
    target = INCLUDED / name
    model = kind.from_pretrained(source).to(torch.bfloat16)
    model.save_pretrained(target)
    if model.config.mask_tokens_in_decoder:
        MaskedPatchDecoder.from_file(model, source / DECODER_NAME).to(torch.bfloat16).save_file(target / DECODER_NAME)
    for beside in BESIDE:
        if (source / beside).exists():
            shutil.copy(source / beside, target / beside)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pretrained", type=Path, help="run folder of a pre-training; default: it is run")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "shipped", help="where the runs are kept")
    parser.add_argument("--classifier", type=Path, help="run folder of a fine-tuning; default: it is run")
    parser.add_argument("--streets", type=Path, help="folder of runs of benchmarks/camvid.py; default: they are run")
    given = parser.parse_args()
    runs = given.runs.resolve()
    before = pretraining(given.pretrained, runs)
    tuned = classifier(before, runs) if given.classifier is None else given.classifier / "model"
    streets = segmenter(runs / "camvid" if given.streets is None else given.streets.resolve())
    ship(BeitForMaskedImageModeling, before.model, "nano-cifar10")
    ship(BeitForImageClassification, tuned, "nano-cifar10-classifier")
    ship(BeitForSemanticSegmentation, streets, "nano-camvid-segmenter")
    load_tokenizer(ROOT / before.recipe["tokenizer"]["path"]).save_pretrained(INCLUDED / "nano-cifar10-tokens")
    for file in sorted(INCLUDED.rglob("*.*")):
        print(f"{file.stat().st_size:>10,}  {file.relative_to(INCLUDED)}")


if __name__ == "__main__":
    main()
