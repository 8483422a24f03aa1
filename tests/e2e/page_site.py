"""Tiny models behind the real service, at an address that a browser can open."""

import threading
import time
from contextlib import contextmanager

import torch
import uvicorn
from PIL import Image

from beit import BeitForImageClassification, BeitForMaskedImageModeling, BeitForSemanticSegmentation, Predictor, preset
from beit.image import Preprocessing
from beit.inference.runners.torch_runner import TorchRunner
from beit.models_torch.scene import SceneInference
from beit.service import ServiceSettings, create_app
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig
from tests.conftest import TINY_MODEL

ROWS = COLS = 8
SIDE = ROWS * TINY_MODEL["patch_size"]
MODEL = {**TINY_MODEL, "image_size": SIDE}
VIEW = Preprocessing((SIDE, SIDE), (SIDE, SIDE))
PETS = ["<b>cat</b>", "dog", "magpie"]
STREETS = ["sky", "building", "road", "car"]


def classifier():
    torch.manual_seed(0)
    model = BeitForImageClassification(preset("tiny", **MODEL, id2label=dict(enumerate(PETS))))
    torch.nn.init.normal_(model.classifier.weight)
    return Predictor(TorchRunner(model, "cpu"), VIEW)


def segmenter():
    torch.manual_seed(0)
    options = {**MODEL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "id2label": dict(enumerate(STREETS))}
    model = BeitForSemanticSegmentation(preset("tiny", **options))
    return Predictor(TorchRunner(model, "cpu"), VIEW, SceneInference())


def pretrained():
    torch.manual_seed(0)
    tokenizer = DiscreteVAE(DiscreteVAEConfig(MODEL["vocab_size"], 8, 1, 2, 8)).eval()
    return Predictor(TorchRunner(BeitForMaskedImageModeling(preset("tiny", **MODEL)), "cpu"), VIEW, tokenizer=tokenizer)


def small_copy(folder, picture):
    """Write a picture at a third of its sides, of which the tiny windows of `segmenter` see tens and not hundreds."""
    copy = folder / picture.name
    with Image.open(picture) as whole:
        whole.reduce(3).save(copy)
    return copy


@contextmanager
def served(predictors, **settings):
    """The address of a service, on a port that the system chooses; predictors as for `create_app`."""
    app = create_app(predictors, ServiceSettings(**settings))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
