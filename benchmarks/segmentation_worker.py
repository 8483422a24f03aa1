"""Worker of segmentation.py: `speed ROUNDS` in turns, `memory ours|theirs` three of one, `scene` one street."""

import json
import sys
import tempfile
import time

import torch

from memory import peak, resident

SIDE, CLASSES = 640, 150


def options():
    return {
        "image_size": SIDE,
        "use_relative_position_bias": True,
        "layer_norm_eps": 1e-6,
        "out_indices": [3, 5, 7, 11],
        "num_labels": CLASSES,
    }


def ours():
    from beit import BeitConfig, BeitForSemanticSegmentation

    return BeitForSemanticSegmentation(BeitConfig(**options())).eval()


def theirs():
    import transformers

    config = transformers.BeitConfig(**options())
    return transformers.BeitForSemanticSegmentation._from_config(config, attn_implementation="sdpa").eval()


@torch.inference_mode()
def speed(rounds):
    import transformers

    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    models = {"theirs": theirs()}
    with tempfile.TemporaryDirectory() as folder:  # the same weights, by way of the layout that both read
        models["theirs"].save_pretrained(folder)
        models["ours"] = ours()
        models["ours"].load_weights(folder, strict=True)
    times, logits = {"ours": [], "theirs": []}, {}
    for _ in range(1 + int(rounds)):
        for name, model in models.items():
            began = time.perf_counter()
            logits[name] = model(pixels).logits
            times[name].append(time.perf_counter() - began)
    difference = float((logits["ours"] - logits["theirs"]).abs().max())
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    warm = {name: values[1:] for name, values in times.items()}
    return {**warm, "difference": difference, "largest": float(logits["theirs"].abs().max()), "versions": versions}


@torch.inference_mode()
def memory(name):
    pixels = torch.randn(1, 3, SIDE, SIDE)
    if name == "theirs":
        import transformers  # noqa: F401  # the library itself is not counted
    idle = resident()
    model = {"ours": ours, "theirs": theirs}[name]()
    for _ in range(3):
        model(pixels)
    return {"peak": peak() - idle}


def scene():
    from PIL import Image

    from beit.models_torch.scene import SceneInference, segment_scene
    from beit.models_torch.sliding_window import Windows

    torch.manual_seed(0)
    model = ours()
    street = Image.effect_noise((2048, 1024), 60).convert("RGB")
    began = time.perf_counter()
    segment_scene(model, street, SceneInference(Windows((SIDE, SIDE), (426, 426))))
    return {"seconds": time.perf_counter() - began, "process_peak": peak()}


if __name__ == "__main__":
    print(json.dumps({"speed": speed, "memory": memory, "scene": scene}[sys.argv[1]](*sys.argv[2:])))
