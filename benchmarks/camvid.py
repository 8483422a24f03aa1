"""Pre-training against training from scratch on streets: a very small BEiT on CamVid.

    python benchmarks/camvid.py [--tokenizer PATH]

Pre-trains without labels on the 367 training pictures of ../shared/data/camvid, 20 times each, and 8,000 of CIFAR-10;
then trains two segmentation models that differ in nothing but where they start (about an hour of one core; stopped, it
continues). The discrete VAE is trained first unless one is
named. The 101 validation pictures are measured once, after each training. Writes results/camvid.json and camvid.png.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from about import write_result
from beit import Predictor
from beit.image import IGNORED
from beit.image.palette import coloured, overlaid, palette
from cifar10 import PICTURES as CIFAR
from peers import ROOT
from trainings import tokenizer, train

STREETS = ROOT.parent / "shared" / "data" / "camvid"
RUNS = ROOT / "runs" / "camvid"
RESULTS = Path(__file__).parent / "results"
OTHERS, TIMES = 8000, 20  # pictures of CIFAR-10, and how often each of CamVid is among them
SIZE = {
    "hidden_size": 128,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "patch_size": 8,
}
PRETRAINING = {
    "model.image_size": 64,
    "augment.crop_scale": "[0.2,1.0]",
    "train.batch_size": 128,
    "train.max_steps": 1200,
    "run.save_every": 100,
}
STARTS = {
    "pretrained": [f"--checkpoint={RUNS / 'pretrain' / 'model'}"],
    "scratch": ["--checkpoint=null", "--model.size=tiny", *(f"--model.{name}={value}" for name, value in SIZE.items())],
}
LEAST, SHOWN = 0.35, 8


def pictures():
    """Return a folder with the pictures of both; those of CamVid are links."""
    folder = RUNS / "pictures"
    if not folder.exists():
        unfinished = RUNS / "pictures.unfinished"
        (unfinished / "cifar10").mkdir(parents=True, exist_ok=True)
        table = pq.read_table(CIFAR / "train.parquet", columns=["image"]).slice(0, OTHERS)
        for number, picture in enumerate(table.column("image").to_pylist()):
            (unfinished / "cifar10" / f"{number:05d}.png").write_bytes(picture["bytes"])
        for time in range(TIMES):
            place = unfinished / f"camvid_{time:02d}"
            place.mkdir(exist_ok=True)
            for path in (STREETS / "train" / "images").iterdir():
                (place / path.name).unlink(missing_ok=True)
                (place / path.name).symlink_to(path)
        unfinished.rename(folder)
    return folder


def pretraining(tokens):
    """Return the arguments of the pre-training."""
    options = PRETRAINING | {f"model.{name}": value for name, value in SIZE.items()}
    return [
        "-m", "beit", "pretrain", "recipes/pretrain_cifar10_tiny.yaml", f"--data.path={pictures()}",
        f"--tokenizer.path={tokens}", "--run.precision=bf16",
        *(f"--{name}={value}" for name, value in options.items()),
    ]  # fmt: skip


def segmentation(start):
    """Return the arguments of a training of a segmentation model; `start` are those that say where it starts."""
    places = {
        "data.path": "train/images", "label_maps.path": "train/masks",
        "data.val_path": "val/images", "label_maps.val_path": "val/masks", "label_maps.classes": "classes.txt",
    }  # fmt: skip
    return [
        "-m", "beit", "segment", "recipes/segment_camvid_tiny.yaml", *start, "--run.precision=bf16",
        *(f"--{name}={STREETS / place}" for name, place in places.items()),
    ]  # fmt: skip


def chart(results):
    """Return a figure: some validation pictures, the classes that both models predict, the masks, every class's IoU."""
    models = [Predictor.from_pretrained(RUNS / name / "model") for name in STARTS]
    classes = models[0].classes
    every = sorted((STREETS / "val" / "images").iterdir())
    chosen = [every[round(place)] for place in np.linspace(0, len(every) - 1, SHOWN)]
    figure = Figure(figsize=(2.2 * SHOWN, 11), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(3, 1.3))
    axes = upper.subplots(4, SHOWN)
    for column, path in enumerate(chosen):
        picture = Image.open(path).convert("RGB")
        mask = np.asarray(Image.open(STREETS / "val" / "masks" / f"{path.stem}.png")).astype(np.int64)
        mask[mask >= len(classes)] = IGNORED
        seen = [overlaid(picture, model.segment(picture)[0].labels, len(classes), 0.6) for model in models]
        for row, image in enumerate((picture, *seen, coloured(mask, len(classes)))):
            axes[row, column].imshow(image.resize((240, 180)))
            axes[row, column].set(xticks=[], yticks=[])
    for row, name in enumerate(("picture", "pre-trained", "from scratch", "mask")):
        axes[row, 0].set_ylabel(name)
    colours = [Patch(color=tuple(colour / 255)) for colour in palette(len(classes))]
    upper.legend(colours, classes, loc="outside lower center", ncols=len(classes))
    bars = lower.subplots()
    for shift, (name, result) in zip((-0.2, 0.2), results.items(), strict=True):
        values = [100 * result[f"iou_{label}"] for label in classes]
        bars.bar(np.arange(len(classes)) + shift, values, 0.4, label=f"{name}, mean {result['mean_iou']:.1%}")
    bars.set(title="IoU of the validation pictures, %", xticks=range(len(classes)), xticklabels=classes)
    bars.legend()
    bars.grid(axis="y", alpha=0.3)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, help="a trained tokenizer; default: one is trained first")
    tokens = parser.parse_args().tokenizer or tokenizer(RUNS / "tokenizer", CIFAR / "train.parquet")
    pretrained = train([(RUNS / "pretrain", pretraining(tokens))])[0]
    runs = [(RUNS / name, segmentation(start)) for name, start in STARTS.items()]
    results = dict(zip(STARTS, train(runs), strict=True))
    settings = {
        "recipes": ["recipes/pretrain_cifar10_tiny.yaml", "recipes/segment_camvid_tiny.yaml"],
        "model": SIZE,
        "pretraining": {"pictures_of_cifar10": OTHERS, "times_camvid": TIMES, **PRETRAINING},
    }
    record = {"validation": results, "pretraining": pretrained, "settings": settings}
    write_result(RESULTS / "camvid.json", record, "torch", "numpy", "Pillow")
    chart(results).savefig(RESULTS / "camvid.png", dpi=70)
    ours, scratch = (results[name] for name in STARTS)
    print(f"{'IoU':<14}{'pre-trained':>14}{'from scratch':>14}")
    for name in (name for name in ours if name.startswith("iou_")):
        print(f"{name.removeprefix('iou_'):<14}{ours[name]:>14.1%}{scratch[name]:>14.1%}")
    print(f"{'mean':<14}{ours['mean_iou']:>14.1%}{scratch['mean_iou']:>14.1%}   (wanted {LEAST:.0%} and to be ahead)")
    met = ours["mean_iou"] >= LEAST and ours["mean_iou"] > scratch["mean_iou"]
    return 0 if met else "the pre-trained model is not as good as wanted"


if __name__ == "__main__":
    sys.exit(main())
