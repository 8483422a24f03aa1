"""Files and functions of `src/beit` that run in one call, counted with `sys.setprofile`; printed as JSON.

`python -m tests.reach FOLDER` counts one pre-training step, its batch, a `pretrain()` of two steps with a given
tokenizer, `from_pretrained(folder)` and `Predictor.from_pretrained(folder)`. Each has run once before, so that imports
and first looks do not count.
"""

import json
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import torch

import beit
from beit import BeitConfig, BeitForImageClassification, BeitImageProcessor
from beit.data import training_batches
from beit.engine.loop import batch_order, make_backend
from beit.engine.run import build, start
from beit.engine.run_folder import RunFolder
from beit.inference.predictor import Predictor
from beit.settings.groups import AugmentSettings, DataSettings, ModelSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.pretrain import MaskSettings, PretrainJob, PretrainTokenizerSettings
from beit.tasks.pretrain.task import PretrainTask, pretrain
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig

ROOT = f"{Path(beit.__file__).parent}/"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


@contextmanager
def counted(found, name):
    """Count inside; [files, functions] are put under a name."""
    seen = set()

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOT) and code.co_filename.endswith(".py"):
            seen.add((code.co_filename, code.co_qualname))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    functions = {entry for entry in seen if entry[1] != "<module>"}
    found[name] = [len({file for file, _ in functions}), len(functions)]


def job(place, output):
    return PretrainJob(
        run=RunSettings(output=str(place / output), device="cpu"),
        data=DataSettings(path="digits:train", workers=0),
        augment=AugmentSettings(flip=0.0),
        model=ModelSettings(size="tiny", image_size=16, patch_size=4, **SIZES),
        mask=MaskSettings(count=7, min_block=2),
        tokenizer=PretrainTokenizerSettings(path=str(place / "tokenizer")),
        optim=OptimSettings(warmup_steps=0),
        train=TrainSettings(max_steps=2, batch_size=16),
    )


def count_training(found, place):
    torch.manual_seed(0)
    DiscreteVAE(DiscreteVAEConfig(32, 8, 1, 2, 8, image_size=8)).save_pretrained(place / "tokenizer")
    task = start(PretrainTask(job(place, "unused")))
    build(task)
    backend = make_backend(task, RunFolder(place / "unused"))
    backend.train()
    batches = iter(training_batches(task.dataset, batch_order(task, 2, 0, 0, 1), task.collate, 0, False))
    backend.step(0, task.prepare(next(batches).tensors, 0))
    with counted(found, "batch"):
        batch = next(batches)
    with counted(found, "step"):
        backend.step(1, task.prepare(batch.tensors, 1))
    pretrain(job(place, "first"))
    with counted(found, "pretrain"):
        pretrain(job(place, "second"))


def count_loading(found, folder):
    sizes = {**SIZES, "image_size": 16, "patch_size": 8, "id2label": {0: "a", 1: "b"}}
    BeitForImageClassification(BeitConfig(**sizes, use_relative_position_bias=True)).save_pretrained(folder)
    BeitImageProcessor(size=16, crop_size=16).save_pretrained(folder)
    loads = {"from_pretrained": BeitForImageClassification.from_pretrained, "predictor": Predictor.from_pretrained}
    for name, load in loads.items():
        load(folder)
        with counted(found, name):
            load(folder)


if __name__ == "__main__":
    counts = {}
    count_training(counts, Path(sys.argv[1]))
    count_loading(counts, Path(sys.argv[1]) / "model")
    print(json.dumps(counts))  # noqa: T201
