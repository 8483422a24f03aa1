"""Export a classifier to ONNX, and run the file with onnxruntime, numpy and Pillow alone.

    python examples/export_and_run_onnx.py microsoft/beit-base-patch16-224 exported/ picture.jpg

The second half needs no beit and no torch: copy it to where the model is used. `Predictor.from_pretrained("exported/")`
does the same, for all sizes and tasks. The export needs beit with its extras `train` and `export`.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


def export_model(model, folder):
    from beit.inference.export import ExportJob, export

    print(export(ExportJob(model, to="onnx", output=str(folder)))["said"])


def classify(folder, picture):
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import: it reports its use to its makers otherwise
    import onnxruntime

    shown = json.loads((folder / "preprocessor_config.json").read_text())
    names = json.loads((folder / "config.json").read_text())["id2label"]
    size, crop = shown["size"], shown["crop_size"]
    image = ImageOps.exif_transpose(Image.open(picture)).convert("RGB")
    if "shortest_edge" in size:
        factor = size["shortest_edge"] / min(image.size)
        width, height = (int(side * factor) for side in image.size)
    else:
        width, height = size["width"], size["height"]
    left, top = (width - crop["width"]) // 2, (height - crop["height"]) // 2
    image = image.resize((width, height), shown["resample"])
    image = image.crop((left, top, left + crop["width"], top + crop["height"]))
    pixels = (np.asarray(image, np.float32) / 255 - shown["image_mean"]) / shown["image_std"]
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    logits = session.run(None, {"pixel_values": pixels.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    return [(names[str(index)], probabilities[index]) for index in np.argsort(-probabilities)[:3]]


if __name__ == "__main__":
    model, folder, picture = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if not folder.exists():
        export_model(model, folder)
    for name, probability in classify(folder, picture):
        print(f"{probability:6.1%}  {name}")
