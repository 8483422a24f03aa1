"""The passes of inference.py with exported files, in the environment of development."""

import io
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

ROUNDS = {1: 15, 8: 7}
THREADS = 2


def save(folder):
    """Write the base classifier that all are given, with weights that are not all small."""
    import torch

    from beit import BeitConfig, BeitForImageClassification, BeitImageProcessor

    torch.manual_seed(0)
    options = {"use_relative_position_bias": True, "layer_norm_eps": 1e-6, "num_labels": 1000}
    model = BeitForImageClassification(BeitConfig(**options))
    with torch.no_grad():
        model.classifier.weight.normal_(std=0.02)
        for name, table in model.named_parameters():
            if name.endswith("bias_table"):
                table.normal_(std=0.1)
    model.save_pretrained(folder)
    BeitImageProcessor().save_pretrained(folder)
    return {}


def turns(calls):
    """Return the seconds of each call for batches of 1 and 8, taken in turns.

    Each is called twice and the second time counts: the threads of a session wait for more work a while before they
    sleep, and what comes right after another session shares the processor with them.
    """
    told = {}
    for batch, rounds in ROUNDS.items():
        pixels = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=np.float32)
        times = {name: [] for name in calls}
        for turn in range(2 + rounds):
            for name in calls if turn % 2 else reversed(calls):  # neither is always the one that comes after the other
                calls[name](pixels)
                began = time.perf_counter()
                calls[name](pixels)
                if turn > 1:
                    times[name].append(time.perf_counter() - began)
        told[f"batch {batch}"] = times
    return told


def in_torch(folder):
    """Return our model in PyTorch, as a function of arrays."""
    import torch

    from beit import BeitForImageClassification

    torch.set_num_threads(THREADS)
    model = BeitForImageClassification.from_pretrained(folder).eval()

    def call(pixels):
        with torch.inference_mode():
            return model(torch.from_numpy(pixels)).logits.numpy()

    return call


def speed(to, folder, exported):
    """Return the seconds of our exported file and of a plain export of the model of transformers."""
    import torch
    from transformers import BeitForImageClassification

    from beit.inference.exported import load_exported

    warnings.filterwarnings("ignore")
    torch.set_num_threads(THREADS)
    theirs = BeitForImageClassification.from_pretrained(folder).eval()
    plain = {"openvino": _plain_openvino, "onnx": _plain_onnx}[to](theirs)
    ours = load_exported(exported, threads=THREADS)
    pixels = np.random.default_rng(1).standard_normal((2, 3, 224, 224), dtype=np.float32)
    difference = float(np.abs(ours(pixels) - plain(pixels)).max())
    if difference > 1e-3:
        raise SystemExit(f"the exported files differ by {difference:.1e}")
    return {**turns({"ours": ours, "theirs": plain}), "difference": difference}


def _plain_openvino(model):
    import openvino
    import torch

    with torch.no_grad():
        converted = openvino.convert_model(model, example_input={"pixel_values": torch.zeros(2, 3, 224, 224)})
    compiled = openvino.compile_model(
        converted, "CPU", {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda pixels: compiled(pixels)[0]


def _plain_onnx(model):
    import onnxruntime
    import torch

    batch = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            (torch.zeros(2, 3, 224, 224),),
            dynamo=True,
            verbose=False,
            dynamic_shapes={"pixel_values": {0: batch}},
        )
    file = io.BytesIO()
    program.model_proto  # noqa: B018  # made on first use
    file.write(program.model_proto.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: pixels})[0]


def int8(folder, exported, photographs):
    """Return the seconds of 8 bits and of our model in PyTorch, and the lowest cosine of their logits."""
    from beit import BeitImageProcessor
    from beit.image import EXTENSIONS, read_image
    from beit.inference.exported import load_exported

    ours, plain = load_exported(exported, threads=THREADS), in_torch(folder)
    told = turns({"ours": ours, "torch": plain})
    processor = BeitImageProcessor.from_pretrained(folder)
    files = sorted(path for path in Path(photographs).rglob("*") if path.suffix.lower() in EXTENSIONS)
    cosines = []
    for file in files:
        pixels = processor(read_image(file), return_tensors="np")["pixel_values"]
        one, other = ours(pixels)[0], plain(pixels)[0]
        cosines.append(float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))
    return {**told, "cosine": min(cosines), "photographs": len(cosines)}


def _table(file):
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(file)
    image, label = (next(n for n in table.column_names if n.startswith(start)) for start in ("im", "label"))
    return [row["bytes"] for row in table[image].to_pylist()], table[label].to_pylist()


def pictures(file, folder):
    """Write some pictures of a table as files, to calibrate with."""
    Path(folder).mkdir()
    encoded, _ = _table(file)
    for index, data in enumerate(encoded[:: max(1, len(encoded) // 300)]):
        (Path(folder) / f"{index:04d}.png").write_bytes(data)
    return {}


def agreement(folder, exported, file):
    """Return how often 8 bits and our model in PyTorch name the same class of pictures."""
    from PIL import Image

    from beit.image import Preprocessing
    from beit.inference.exported import load_exported

    ours, plain = load_exported(exported, threads=THREADS), in_torch(folder)
    view, (encoded, labels) = Preprocessing.from_pretrained(folder), _table(file)
    best = {"ours": [], "torch": []}
    for first in range(0, len(encoded), 100):
        opened = (Image.open(io.BytesIO(data)).convert("RGB") for data in encoded[first : first + 100])
        pixels = np.stack([view(picture) for picture in opened])
        best["ours"] += ours(pixels).argmax(-1).tolist()
        best["torch"] += plain(pixels).argmax(-1).tolist()
    one, other, right = (np.array(values) for values in (best["ours"], best["torch"], labels))
    return {"agreement": float((one == other).mean()), "pictures": len(right),
            "right": float((other == right).mean()), "right_int8": float((one == right).mean())}  # fmt: skip


if __name__ == "__main__":
    chosen = {"save": save, "speed": speed, "int8": int8, "pictures": pictures, "agreement": agreement}[sys.argv[1]]
    print(json.dumps(chosen(*sys.argv[2:])))
