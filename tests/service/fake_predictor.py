"""A predictor that is as slow as a test wants, and notes its batches; run, it is a service of such a predictor."""

import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import numpy as np

from beit.image import Preprocessing
from beit.inference.runners.loaded import LoadedModel

CLASSES = ["dark", "bright"]


class FakeRunner:
    """Scores the brightness of pixels."""

    task = "classify"
    image_hw = (32, 32)
    config = SimpleNamespace(
        num_channels=3,
        patch_size=8,
        class_names=CLASSES,
        distinct_class_names=CLASSES,
        problem_type=None,
        hidden_size=3,
    )

    def __init__(self, seconds):
        self.seconds = seconds
        self.batches = []
        self.threads = set()

    def __call__(self, pixels_BCHW):
        self._compute(pixels_BCHW)
        bright_B = (pixels_BCHW.mean(axis=(1, 2, 3)) + 1) / 2
        with np.errstate(divide="ignore"):
            return np.log(np.stack([1 - bright_B, bright_B], axis=1)).astype(np.float32)

    def embed(self, pixels_BCHW):
        self._compute(pixels_BCHW)
        return pixels_BCHW.mean(axis=(2, 3)).astype(np.float32)

    def _compute(self, pixels_BCHW):
        self.batches.append(len(pixels_BCHW))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)


class FakeModel(LoadedModel):
    def embed(self, pixels_BCHW):
        return self.runner.embed(pixels_BCHW)


class FakePredictor:
    def __init__(self, seconds=0.0, tasks=("classify", "embed")):
        self.runner = FakeRunner(seconds)
        self.model = FakeModel(self.runner, Preprocessing((32, 32), (32, 32)))
        self.tasks = frozenset(tasks)
        self.classes = CLASSES


def main(seconds, load_seconds="0", **limits):
    from beit.service import ServiceSettings, create_app
    from beit.service.server import serve

    def load():
        time.sleep(float(load_seconds))
        return {"fake": FakePredictor(float(seconds))}

    settings = ServiceSettings(**{name: float(value) if "." in value else int(value) for name, value in limits.items()})
    serve(create_app(load, settings), "127.0.0.1", 0, partial(print, flush=True))


if __name__ == "__main__":
    main(**dict(argument.split("=") for argument in sys.argv[1:]))
