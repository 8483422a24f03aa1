"""A predictor that is as slow as a test wants, and notes what it computed; run, it is a service of such a predictor."""

import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import numpy as np

from beit.image import Preprocessing
from beit.inference.results import Classification, Embedding

CLASSES = ["dark", "bright"]


class FakePredictor:
    def __init__(self, seconds=0.0, tasks=("classify", "embed")):
        self.tasks = frozenset(tasks)
        self.classes = CLASSES
        self.config = SimpleNamespace(patch_size=8)
        self.preprocessing = Preprocessing((32, 32), (32, 32))
        self.runner = SimpleNamespace(image_hw=(32, 32))
        self.seconds = seconds
        self.batches = []
        self.threads = set()

    def prepare(self, picture):
        return self.preprocessing(picture)

    def classify_pixels(self, pixels_BCHW, top_k=5):
        self._compute(pixels_BCHW)
        bright_B = (pixels_BCHW.mean(axis=(1, 2, 3)) + 1) / 2
        return [
            Classification(["bright", "dark"][:top_k], [float(bright), 1 - float(bright)][:top_k])
            for bright in bright_B
        ]

    def embed_pixels(self, pixels_BCHW):
        self._compute(pixels_BCHW)
        return [Embedding(vector_D.astype(np.float32)) for vector_D in pixels_BCHW.mean(axis=(2, 3))]

    def _compute(self, pixels_BCHW):
        self.batches.append(len(pixels_BCHW))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)


def main(seconds, load_seconds="0", **limits):
    from beit.inference.service import ServiceSettings, create_app
    from beit.inference.service.server import serve

    def load():
        time.sleep(float(load_seconds))
        return {"fake": FakePredictor(float(seconds))}

    settings = ServiceSettings(**{name: float(value) if "." in value else int(value) for name, value in limits.items()})
    serve(create_app(load, settings), "127.0.0.1", 0, partial(print, flush=True))


if __name__ == "__main__":
    main(**dict(argument.split("=") for argument in sys.argv[1:]))
