"""Pictures of CIFAR-10 to train on: how many are labelled, which are held out, and their pixels.

Legend: P pictures of 32 x 32 pixels.
"""

from statistics import mean, stdev

import numpy as np
import torch

from beit.settings.groups import DataSettings
from beit.settings.inputs import open_sources
from peers import ROOT

PICTURES = ROOT.parent / "shared" / "data" / "cifar10"
TRAIN = PICTURES / "train.parquet"
HELD_OUT = 0.04  # of the training pictures of every class; 2,000
PER_CLASS = {"100%": None, "10%": 500, "1%": 50}  # labelled pictures; None: all that are not held out


def labelled(share, seed):
    """Return the pixels (P, 32, 32, 3) and classes (P,) of a share, which are those that `beit finetune` trains on."""
    data = DataSettings(path=str(TRAIN), val_share=HELD_OUT, per_class=PER_CLASS[share])
    return arrays(open_sources(data, seed, stratified=True).train)


def arrays(source):
    """Return the pixels (P, 32, 32, 3) in [0, 255] and the classes (P,) of a source of pictures."""
    pixels = [np.asarray(source.load(index).convert("RGB")) for index in range(len(source))]
    return np.stack(pixels), np.asarray(source.labels)


def batches(pixels, size=250):
    """Yield the pictures as models see them, (B, 3, 32, 32) in [-1, 1]: mean and deviation 0.5, uncropped."""
    for first in range(0, len(pixels), size):
        chosen = torch.from_numpy(pixels[first : first + size]).permute(0, 3, 1, 2)
        yield chosen.float().div(127.5).sub(1).contiguous()


@torch.inference_mode()
def accuracy_of(scores, pixels, labels):
    """Return the top-1 accuracy of a function from pictures (B, 3, 32, 32) to scores (B, K)."""
    answers = torch.cat([scores(batch).argmax(dim=1) for batch in batches(pixels)]).numpy()
    return float((answers == labels).mean())


def spread(values):
    """Return mean and standard deviation of what the seeds gave, and what each gave; of one there is no deviation."""
    values = list(values)
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else None, "seeds": values}
