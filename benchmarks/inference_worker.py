"""The passes of inference.py: `speed` takes turns in one process, `start` is a first answer of one implementation."""

import sys
import time

BEGAN = time.perf_counter()  # before the libraries are imported, whose time counts for `start`

ROUNDS = {1: 15, 8: 7}
OPTIONS = {"use_relative_position_bias": True, "layer_norm_eps": 1e-6, "num_labels": 1000, "image_size": 224}


def peak_memory():
    """Return the most that this process ever held, in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024


def speed(kind, folder):
    """Return the seconds of each pass of both, and the rate of their matrix products."""
    import torch
    import transformers

    from beit import BeitForImageClassification
    from beit.engine.throughput import gemm_rate
    from beit.tasks.pretrain.cost import forward_flops

    torch.set_num_threads(2)
    models = {
        "ours": BeitForImageClassification.from_pretrained(folder).eval(),
        "theirs": transformers.BeitForImageClassification.from_pretrained(folder, attn_implementation="sdpa").eval(),
    }
    calls = {name: torch.compile(model) if kind == "compiled" else model for name, model in models.items()}
    generator = torch.Generator().manual_seed(0)
    told = {"flops": forward_flops(models["ours"].config, 0), "versions": transformers.__version__}
    with torch.inference_mode():
        for batch, rounds in ROUNDS.items():
            pixels = torch.randn(batch, 3, 224, 224, generator=generator)
            times, logits = {name: [] for name in calls}, {}
            for turn in range(2 + rounds):
                for name in calls if turn % 2 else reversed(calls):  # neither always comes after the other
                    began = time.perf_counter()
                    logits[name] = calls[name](pixels).logits
                    if turn > 1:
                        times[name].append(time.perf_counter() - began)
            difference = float((logits["ours"] - logits["theirs"]).abs().max())
            told[f"batch {batch}"] = {"seconds": times, "difference": difference}
        told["gemm_rate"] = max(gemm_rate(torch.device("cpu"), torch.float32) for _ in range(5))
    return told


def start(name, folder):
    """Return how long the first answer takes from the first import on, and the most memory that was held."""
    if name == "ours":
        from beit import BeitForImageClassification, BeitImageProcessor
    else:
        from transformers import BeitForImageClassification, BeitImageProcessor
    import torch
    from PIL import Image

    processor = BeitImageProcessor.from_pretrained(folder)
    model = BeitForImageClassification.from_pretrained(folder).eval()
    picture = Image.radial_gradient("L").resize((640, 480)).convert("RGB")
    with torch.inference_mode():
        logits = model(**processor(picture, return_tensors="pt")).logits
    label = model.config.id2label[int(logits.argmax())]
    return {"seconds": time.perf_counter() - BEGAN, "peak": peak_memory(), "label": label}


if __name__ == "__main__":
    import json

    print(json.dumps({"speed": speed, "start": start}[sys.argv[1]](*sys.argv[2:])))
