"""Tiny models exported as pages, behind a server of files at an address that a browser can open."""

import hashlib
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from beit import BeitForImageClassification, BeitForMaskedImageModeling, BeitForSemanticSegmentation, Predictor, preset
from beit.image import Preprocessing
from beit.inference.export import ExportJob, export, web
from beit.models_torch.scene import SceneInference
from beit.models_torch.sliding_window import Windows
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig
from tests.conftest import TINY_MODEL

ROWS = COLS = 8
SIDE = ROWS * TINY_MODEL["patch_size"]
MODEL = {**TINY_MODEL, "image_size": SIDE}
STREETS = ["sky", "building", "road", "car"]
SCENES = {  # of segmenters, by name; None: the published settings
    "streets": None,
    "scales": SceneInference(Windows((SIDE, SIDE), (SIDE - 8, SIDE // 2)), 100, (0.7, 1.0), True, (0.4, 0.5, 0.6)),
}
CLASSES = ["<b>cat</b>", "dog", "magpie", "leopard", "newt", "crane", "tench"]


def save_classifier(folder):
    torch.manual_seed(0)
    model = BeitForImageClassification(preset("tiny", **MODEL, id2label=dict(enumerate(CLASSES))))
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(folder)
    Preprocessing((SIDE, SIDE), 72, (0.48, 0.45, 0.4), (0.23, 0.22, 0.225)).save_pretrained(folder)
    return Predictor.from_pretrained(folder, device="cpu")


def save_pretrained(folder, tokenizer_folder):
    torch.manual_seed(0)
    model = BeitForMaskedImageModeling(preset("tiny", **MODEL))
    torch.nn.init.normal_(model.lm_head.weight)
    model.save_pretrained(folder)
    Preprocessing((SIDE, SIDE), (SIDE, SIDE)).save_pretrained(folder)
    DiscreteVAE(DiscreteVAEConfig(MODEL["vocab_size"], 8, 1, 2, 8)).save_pretrained(tokenizer_folder)
    return Predictor.from_pretrained(folder, device="cpu", tokenizer=tokenizer_folder)


def save_segmenter(folder, scene=None):
    torch.manual_seed(0)
    options = {**MODEL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "id2label": dict(enumerate(STREETS))}
    model = BeitForSemanticSegmentation(preset("tiny", **options, use_auxiliary_head=False))
    for parameter in model.parameters():  # so that classes differ by more than rounding does
        torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    Preprocessing((SIDE, SIDE), (SIDE, SIDE)).save_pretrained(folder)
    if scene is not None:
        scene.save_pretrained(folder)
    return Predictor.from_pretrained(folder, device="cpu")


def export_page(model, output, **options):
    return export(ExportJob(str(model), "web", str(output), **options))


@contextmanager
def models_written_once():
    """Write models of the same weights once while it is open: their pages differ beside the files of ONNX."""
    kept, write = {}, web.write_model

    def written(model, first, image_hw, grid, opset, folder):
        weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
        key = (hashlib.sha256(weights).digest(), model.config.to_json_string(), first, image_hw, opset)
        if key not in kept:
            outputs = write(model, first, image_hw, grid, opset, folder)
            kept[key] = outputs, {file.name: file.read_bytes() for file in folder.glob("*.onnx")}
        outputs, files = kept[key]
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return outputs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "write_model", written)
        yield


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Say nothing."""


@contextmanager
def files_served(folder):
    """The address of a server of a folder's files, on a port that the system chooses."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
