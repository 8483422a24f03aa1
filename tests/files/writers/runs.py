"""What a run writes."""

import io
from itertools import count
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from torch import nn

from beit import BeitForImageClassification
from beit.data import BrokenPicture, BrokenPictures
from beit.engine.checkpoints import save_checkpoint
from beit.engine.interruption import stop_diverged
from beit.engine.metrics import MetricsLog
from beit.engine.run_folder import RunFolder, open_run_folder
from beit.errors import BeitError, StorageError
from beit.files import write_text
from beit.reports.gallery import Gallery
from beit.reports.model_card import write_model_card
from beit.reports.report import Section, write_report
from beit.settings.finetune import FinetuneJob, LoraSettings
from beit.settings.groups import DataSettings, RunSettings
from beit.tasks.finetune.lora import adapt, save_adapter
from tests.files.writers.table import CONFIG, writer


@writer("engine/run_folder.py")
def recipe(_):
    main = SimpleNamespace(is_main_process=True, main_process_first=lambda: io.StringIO())
    job = FinetuneJob(DataSettings("pictures"))
    return lambda place: open_run_folder(job, RunSettings(output=str(place)), main)


@writer("engine/run_folder.py")
def result(_):
    return lambda place: RunFolder(place).write_result({"accuracy": 0.5})


@writer("engine/metrics.py")
def metrics(_):
    def write(place):
        with patch("beit.engine.metrics.SummaryWriter"):  # which writes in a thread of its own
            place.mkdir(exist_ok=True)
            MetricsLog(RunFolder(place), 0).write(1, "train", {"loss": 1.0})

    return write


@writer("engine/checkpoints.py")
def checkpoint(_):
    module = nn.Linear(10, 10)
    return lambda place: save_checkpoint(place, 1, lambda folder: None, module, 1, {"data": "a"})


@writer("models_torch/adapters.py")
def adapter_of_peft(_):
    peft = pytest.importorskip("peft")
    model = BeitForImageClassification(CONFIG)
    model.add_adapter(peft.LoraConfig(r=2, target_modules=["query"]))
    return model.save_pretrained


@writer("tasks/finetune/lora.py")
def adapter(_):
    model = BeitForImageClassification(CONFIG)
    adapt(model, LoraSettings(rank=2))
    return lambda place: save_adapter(model, place)


@writer("engine/interruption.py")
def divergence(_):
    def write(place):
        try:
            stop_diverged(1, [{"name": "a.png"}], place, place, True)
        except BeitError as error:
            if isinstance(error, StorageError):
                raise

    return write


@writer("data/broken.py")
def broken_pictures(_):
    numbers = count()

    def write(place):
        broken = BrokenPicture("a.png", f"it is broken in place {next(numbers)}")
        BrokenPictures(place / "broken.txt", 100, 0.5).add([broken])

    return write


@writer("reports/report.py")
def report(_):
    return lambda place: write_report(place / "report.html", "title", [Section("a", "b")], "recipe: {}")


@writer("reports/model_card.py")
def model_card(_):
    def write(place):
        write_text(place / "config.json", '{"architectures": ["BeitModel"]}')
        write_model_card(place, "title", "data", "recipe: {}\n", {"accuracy": 0.5})

    return write


@writer("reports/gallery.py")
def gallery(_):
    row = torch.rand(2, 3, 8, 8)
    scene = SimpleNamespace(fixed={"picture": row}, names=["a.png"], predicted=lambda: row)
    return lambda place: Gallery(place, lambda: scene).begin(0)
