"""Draw where a class is seen in a picture, by Grad-CAM (Selvaraju et al., arXiv 1610.02391).

    python examples/grad_cam.py microsoft/beit-base-patch16-224 picture.jpg heat.png
    python examples/grad_cam.py microsoft/beit-base-patch16-224 picture.jpg heat.png --label "tabby, tabby cat"

Where `beit predict --task attend` says what a patch looks at, this says what speaks for a class. Needs beit alone.
"""

import argparse

import numpy as np
import torch
from PIL import Image, ImageOps

from beit import Predictor

parser = argparse.ArgumentParser(description="Draw where a class is seen in a picture.")
parser.add_argument("model")
parser.add_argument("picture")
parser.add_argument("output")
parser.add_argument("--label", help="name of a class; default: the most likely one")
parser.add_argument("--layer", type=int, default=-1, help="counted from 0, or from the end: -1 is the last")
given = parser.parse_args()

predictor = Predictor.from_pretrained(given.model)
model, shown = predictor.runner.model, predictor.preprocessing
whole = ImageOps.exif_transpose(Image.open(given.picture)).convert("RGB")
picture = whole.crop([round(side) for side in shown.box(whole.height, whole.width)])  # the part that the model sees
pixels = torch.from_numpy(shown(whole))[None].to(model.device).requires_grad_()

seen = {}
norm = model.beit.encoder.layer[given.layer].layernorm_before  # where the tokens enter the layer


def keep(module, inputs, tokens):
    tokens.retain_grad()
    seen["tokens"] = tokens


with torch.enable_grad():
    handle = norm.register_forward_hook(keep)
    logits = model(pixels).logits[0]
    handle.remove()
    index = model.config.class_names.index(given.label) if given.label else int(logits.argmax())
    logits[index].backward()

tokens, gradients = seen["tokens"][0, 1:], seen["tokens"].grad[0, 1:]  # without [CLS]
weights = gradients.mean(0)  # what each channel does for the class
height, width = pixels.shape[2:]
patch_height, patch_width = model.config.patch_hw
heat = (tokens @ weights).clamp(min=0).detach().reshape(height // patch_height, width // patch_width)
heat = (heat / heat.max().clamp(min=1e-12)).cpu().numpy()

warm = Image.fromarray((255 * heat).astype(np.uint8)).resize(picture.size, Image.Resampling.BICUBIC)
glow = Image.composite(Image.new("RGB", picture.size, (255, 60, 0)), picture, warm)
Image.blend(picture, glow, 0.6).save(given.output)
row, column = np.unravel_index(heat.argmax(), heat.shape)
print(f"{model.config.id2label[index]}: {logits.softmax(0)[index]:.1%}, most of it in patch ({row}, {column})")
