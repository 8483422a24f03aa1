"""What training loops of others need: the digits as data sets of torch, collation by our processor, small models."""

import torch
from torch.utils.data import Dataset

from beit import BeitForImageClassification, BeitForMaskedImageModeling, BeitImageProcessor, preset
from beit.data import Purpose, generator, open_source
from beit.geometry import Grid, block_masks

PROCESSOR = BeitImageProcessor(size=16, do_center_crop=False)
GRID = Grid(4, 4)
LEVELS = 8  # visual tokens: how bright a patch is
IGNORED = -100
SMALL = {
    "image_size": 16, "patch_size": 4, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "drop_path_rate": 0.1, "initializer_range": 0.2,  # wide: it learns within seconds
}  # fmt: skip


class Digits(Dataset):
    """Some handwritten digits, each a Pillow picture with its class and its number."""

    def __init__(self, part, count):
        self.source, self.count = open_source(part), count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"index": index, "image": self.source.load(index), "label": int(self.source.labels[index])}


def classes_batch(examples):
    """Pictures with their classes."""
    inputs = PROCESSOR([example["image"] for example in examples], return_tensors="pt")
    return {**inputs, "labels": torch.tensor([example["label"] for example in examples])}


def masked_batch(examples):
    """Pictures with a mask each, always the same one, and the brightness of their hidden patches; -100 elsewhere."""
    inputs = PROCESSOR([example["image"] for example in examples], return_tensors="pt")
    generators = [generator(0, Purpose.MASK, 0, example["index"]) for example in examples]
    mask_BN = torch.from_numpy(block_masks(GRID, 7, generators, min_block=2)).flatten(1)
    labels_BN = brightness(inputs["pixel_values"]).where(mask_BN, IGNORED)
    return {**inputs, "bool_masked_pos": mask_BN, "labels": labels_BN}


def brightness(pixels_BCHW):
    """The mean of each patch in whole levels, (B, N)."""
    patches_BN = torch.nn.functional.avg_pool2d(pixels_BCHW.mean(1, keepdim=True), 4).flatten(1)
    return ((patches_BN + 1) / 2 * LEVELS).long().clamp(0, LEVELS - 1)


def entropy(tokens):
    """The cross-entropy of always predicting the frequencies of some tokens: what a model knows without looking."""
    shares = torch.bincount(tokens, minlength=LEVELS) / len(tokens)
    return float(-(shares * shares.clamp(min=1e-9).log()).sum())


def new_classifier():
    torch.manual_seed(0)
    config = preset("tiny", **SMALL, num_labels=10, use_shared_relative_position_bias=False,
                    use_relative_position_bias=True)  # fmt: skip
    return BeitForImageClassification(config)


def new_masked_model():
    torch.manual_seed(0)
    return BeitForMaskedImageModeling(preset("tiny", **SMALL, vocab_size=LEVELS))
