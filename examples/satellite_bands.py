"""Classify scenes of many bands, beginning with a model of photographs.

    python examples/satellite_bands.py microsoft/beit-base-patch16-224-pt22k scenes/ 10000 runs/land_cover

`scenes/` has a folder of .npy files (height x width x bands) per class; 10000 is the value of full reflectance.
The weights for red, green and blue are repeated over the bands. docs/tutorials/satellite.md has the same on the command
line, and the pre-training on scenes. Needs beit with its extra `train`.
"""

import sys
from pathlib import Path

import numpy as np

from beit import Predictor
from beit.data import measure_channels, sample
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import AugmentSettings, DataSettings, ModelSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.inputs import open_to_train
from beit.tasks.finetune.task import finetune

checkpoint, scenes, brightest, output = sys.argv[1:]
first = next(Path(scenes).glob("*/*.npy"))
data = DataSettings(path=scenes, channels=np.load(first).shape[-1], value_range=(0.0, float(brightest)), val_share=0.2)
bands = measure_channels(sample(open_to_train(data), 2000, seed=0), data.max_broken)
print(f"{data.channels} bands, means from {min(bands.mean):.3f} to {max(bands.mean):.3f}")

job = FinetuneJob(
    data=data,
    run=RunSettings(output=output),
    checkpoint=checkpoint,
    model=ModelSettings(image_mean=tuple(bands.mean), image_std=tuple(bands.std)),
    augment=AugmentSettings(color_jitter=0.0, rotation=90.0, crop_scale=(0.5, 1.0)),  # nothing is upright from above
    optim=OptimSettings(warmup_steps=50),
    train=TrainSettings(batch_size=32, max_steps=1000),
)
run = finetune(job)
print(f"accuracy on held-out scenes: {run.read_result()['accuracy']:.3f}")
print(f"{first}: {Predictor.from_pretrained(run.model).classify(np.load(first))[0].label}")
