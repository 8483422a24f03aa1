"""Train a model to predict the class of every pixel, from pictures with label maps, and look at what it sees.

    python examples/segment_own_masks.py microsoft/beit-base-patch16-224-pt22k pictures/ masks/ classes.txt runs/mine

A mask is a PNG of the same name as its picture, with the number of a class per pixel (255: none); line 1 of classes.txt
names class 0. A twentieth of the pictures is held out. Needs beit with its extra `train`.
"""

import sys

from beit import Predictor
from beit.settings.groups import DataSettings, ModelSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.segment import SegmentJob, TrainingLabelMapSettings
from beit.tasks.segment.task import segment

checkpoint, pictures, masks, classes, output = sys.argv[1:]
job = SegmentJob(
    data=DataSettings(path=pictures),
    label_maps=TrainingLabelMapSettings(path=masks, classes=classes),
    run=RunSettings(output=output),
    checkpoint=checkpoint,
    model=ModelSettings(image_size=512),
    optim=OptimSettings(lr=5e-4, warmup_steps=100, layer_decay=0.65),
    train=TrainSettings(batch_size=8, max_steps=2000),
)
run = segment(job)
print(f"mean IoU of held-out pictures: {run.read_result()['mean_iou']:.3f}")

seen = Predictor.from_pretrained(run.model).segment(pictures)[0]
print(seen.shares)
seen.overlay().save(f"{output}/overlay.png")
