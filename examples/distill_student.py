"""Distil a large classifier into a small one, and train the same small one without the teacher beside it.

    python examples/distill_student.py runs/classes/model classes/train classes/test runs/student

A folder has one folder of pictures per class, those that the teacher knows. `beit distill --compare` does the same.
Needs beit with its extra `train`.
"""

import sys

from beit.settings.distill import StudentJob, TeacherSettings
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import DataSettings, ModelSettings, OptimSettings, RunSettings, TrainSettings
from beit.tasks.distill import distill
from beit.tasks.finetune.task import finetune

teacher, train, test, output = sys.argv[1:]
shared = {
    "data": DataSettings(path=train, val_path=test),
    "model": ModelSettings(size="tiny", image_size=224),
    "optim": OptimSettings(warmup_steps=100, layer_decay=1.0),
    "train": TrainSettings(batch_size=64, max_steps=5000),
}
weights = TeacherSettings(path=teacher, logits=1.0, features=1.0, attention=0.1)
runs = {
    "with the teacher": distill(StudentJob(teacher=weights, run=RunSettings(output=f"{output}/with"), **shared)),
    "without it": finetune(FinetuneJob(run=RunSettings(output=f"{output}/without"), **shared)),
}
for how, run in runs.items():
    print(f"accuracy on {test}, {how}: {run.read_result()['accuracy']:.3f}")
