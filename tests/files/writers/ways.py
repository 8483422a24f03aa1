"""The ways to write."""

import numpy as np
import torch

from beit.engine.torch_backend import save_choices
from beit.files import AppendedFile, atomic_file, atomic_folder, atomic_stream, write_bytes, write_json, write_text
from beit.models_torch.loading import write_safetensors
from beit.weights import write_msgpack
from tests.files.writers.table import writer


@writer("files/writing.py")
def text(_):
    return lambda place: write_text(place / "a.txt", "a text of some length")


@writer("files/writing.py")
def raw_bytes(_):
    return lambda place: write_bytes(place / "a", bytes(100))


@writer(
    "files/writing.py", "engine/monitor.py", "engine/monitor_interval.py", "engine/trackers.py", "cli/statistics.py",
)  # fmt: skip
def json_values(_):
    return lambda place: write_json(place / "a.json", {"numbers": list(range(100))})


@writer("files/writing.py")
def whole_file(_):
    def write(place):
        with atomic_file(place / "a") as temporary:
            np.save(temporary.open("wb"), np.zeros(100))

    return write


@writer(
    "files/writing.py", "engine/run.py", "engine/hooks.py", "engine/monitor.py", "engine/torch_backend.py",
    "engine/jax_backend.py", "tasks/benchmark.py", "tasks/tokenizer/kmeans.py",
)  # fmt: skip
def whole_folder(_):
    def write(place):
        with atomic_folder(place / "a") as temporary:
            (temporary / "inside").mkdir()
            (temporary / "inside" / "b").write_bytes(bytes(100))

    return write


@writer("files/writing.py")
def library_in_another_language(_):
    def write(place):
        with atomic_stream(place / "a") as stream:
            torch.save(torch.zeros(100), stream)

    return write


@writer("files/appended.py")
def appended(_):
    def write(place):
        with AppendedFile(place / "a", keep=0) as file:
            file.append(bytes(100))

    return write


@writer("engine/torch_backend.py")
def kernels_of_a_run(_):
    return lambda place: save_choices(place, [{"linear": "torch"}])


@writer("models_torch/loading.py", "models_torch/masked_patch_decoder.py")
def safetensors(_):
    return lambda place: write_safetensors(place / "a.safetensors", {"a": torch.zeros(100)})


@writer("weights/msgpack_file.py")
def msgpack(_):
    return lambda place: write_msgpack(place / "a.msgpack", {"a": np.zeros(100)})
