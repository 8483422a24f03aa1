"""Pre-train on visual tokens of your own: here a token is the mean colour of a patch, in 64 colours.

    python examples/custom_tokenizer.py my_pictures/ runs/colours

Whatever has these seven names is a tokenizer; one with weights is best a torch module, which is moved to the GPU with
the model, and whose weights a continued run is checked against. Needs beit with its extra `train`.
"""

import sys

import torch
from torch.nn.functional import avg_pool2d

from beit import Predictor
from beit.settings.groups import DataSettings, ModelSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.pretrain import MaskSettings, PretrainJob
from beit.tasks.pretrain.task import pretrain

LEVELS = 4  # of red, of green and of blue


class MeanColour:
    """Pictures to the mean colours of their patches, and back."""

    vocab_size, stride, image_size, decodes_pixels = LEVELS**3, 4, 32, True

    def map_pixels(self, pixels):
        """Leave pixels as they are; other tokenizers scale them."""
        return pixels

    def encode(self, pixels):
        """Return the tokens (B, h, w) of pixels (B, 3, H, W) in [0, 1]."""
        red, green, blue = (avg_pool2d(pixels, self.stride) * LEVELS).long().clamp(max=LEVELS - 1).unbind(dim=1)
        return (red * LEVELS + green) * LEVELS + blue

    def decode(self, tokens):
        """Return pixels (B, 3, H, W) in [0, 1] of tokens (B, h, w)."""
        levels = torch.stack((tokens // LEVELS**2, tokens // LEVELS % LEVELS, tokens % LEVELS), dim=1)
        return ((levels + 0.5) / LEVELS).repeat_interleave(self.stride, 2).repeat_interleave(self.stride, 3)


pictures, output = sys.argv[1:]
job = PretrainJob(
    run=RunSettings(output=output),
    data=DataSettings(path=pictures),
    model=ModelSettings(size="tiny", image_size=64, patch_size=8),  # 8 x 8 patches, so 8 x 8 tokens
    mask=MaskSettings(count=25, min_block=4),
    optim=OptimSettings(lr=1e-3, warmup_steps=20),
    train=TrainSettings(batch_size=64, max_steps=1000),
)
run = pretrain(job, tokenizer=MeanColour())
print(run.read_result())

shown = Predictor.from_pretrained(run.model, tokenizer=MeanColour()).reconstruct(pictures)[0]
shown.side_by_side().save(f"{output}/reconstruction.png")
