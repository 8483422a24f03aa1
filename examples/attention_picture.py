"""Draw where each head of a model looks.

    python examples/attention_picture.py microsoft/beit-base-patch16-224 picture.jpg attention.png
    python examples/attention_picture.py microsoft/beit-base-patch16-224 picture.jpg attention.png --patch 6 7 --layer 9

Needs beit and `pip install matplotlib`.
"""

import argparse

import matplotlib.pyplot as plt

from beit import Predictor

parser = argparse.ArgumentParser(description="Draw where each head of a model looks.")
parser.add_argument("model")
parser.add_argument("picture")
parser.add_argument("output")
parser.add_argument("--layer", type=int, default=-1, help="counted from 0, or from the end: -1 is the last")
parser.add_argument("--patch", type=int, nargs=2, help="row and column of the patch that looks; default: [CLS]")
given = parser.parse_args()

patch = tuple(given.patch) if given.patch else None
attention = Predictor.from_pretrained(given.model).attend(given.picture, given.layer, patch)[0]
heads = len(attention.maps)
shown = {"picture": attention.picture, "all heads": attention.overlay()}
shown |= {f"head {head}": attention.overlay(head) for head in range(heads)}

figure, axes = plt.subplots(-(-len(shown) // 4), 4, figsize=(10, 2.6 * -(-len(shown) // 4)), squeeze=False)
for axis in axes.flat:
    axis.set_axis_off()
for axis, (title, picture) in zip(axes.flat, shown.items(), strict=False):
    axis.imshow(picture)
    axis.set_title(title)
figure.savefig(given.output, bbox_inches="tight")
