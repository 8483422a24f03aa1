# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Ask a trained model
#
# A `Predictor` is a model with its preprocessing. It takes pictures as you have them and answers with class names,
# coloured maps, vectors, heat maps and painted pictures. What it can do depends on the model:
#
# | model | tasks |
# |---|---|
# | classifier | `classify`, `embed`, `neighbours`, `attend`, `features` |
# | segmentation model | `segment`, `embed`, `neighbours`, `attend`, `features` |
# | pre-trained model with its tokenizer | `reconstruct`, `embed`, `neighbours`, `attend`, `features` |
#
#     pip install -c constraints.txt -e '.[train]'

# %%
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from beit import (
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
    DiscreteVAE,
    DiscreteVAEConfig,
    Predictor,
    preset,
)
from beit.data import open_source
from beit.geometry import Grid, block_masks
from beit.image import Preprocessing
from beit.tokenizer.loss import token_divergences

work = Path("runs/inference")

# %% [markdown]
# ## Which models answer
#
# With `OFFLINE = False` the published models answer; they are downloaded by their names, once (about 1.8 GB), and are
# asked about two photographs. With `OFFLINE = True`, as below, nothing is downloaded: very small models stand in for
# them, which the notebook trains for seconds on handwritten digits. **They show what answers look like, not how good a
# BEiT is.**

# %%
OFFLINE = True

if OFFLINE:
    CLASSIFIER, SEGMENTER, PRETRAINED = work / "classifier", work / "segmenter", work / "pretrained"
    TOKENIZER = work / "tokenizer"
else:
    CLASSIFIER = "microsoft/beit-base-patch16-224"  # `beit models` lists all of them
    SEGMENTER = "microsoft/beit-base-finetuned-ade-640-640"
    PRETRAINED, TOKENIZER = "microsoft/beit-base-patch16-224-pt22k", "openai/DALL-E"

# %% [markdown]
# The pictures: digits that no stand-in was trained on, or two photographs that scikit-learn ships (by danielbuechele
# and vultilion, CC BY 2.0). Put your own paths into the lists.

# %%
SIDE = 24  # pixels of the stand-ins' pictures


def enlarged_digits(part):
    """Return the digits as pictures of 24 x 24 pixels, and their labels."""
    digits = open_source(f"digits:{part}")
    pictures = [digits.load(index).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for index in range(len(digits))]
    return pictures, torch.from_numpy(digits.labels)


def sheet_of_paper(rng):
    """Return a picture of a sheet of paper with a digit on a table, and the class of each of its pixels."""
    height, width = rng.integers(48, 80, 2)
    classes = Image.new("L", (width, height))  # 0: table
    pen, left, top = ImageDraw.Draw(classes), rng.integers(4, width - 40), rng.integers(4, height - 40)
    pen.rectangle((left, top, left + 32, top + 32), fill=1)  # paper
    ink = digit_pictures[rng.integers(len(digit_pictures))].convert("L").point(lambda value: 255 * (value > 110))
    classes.paste(2, (left + 4, top + 4), ink)  # ink
    colours = np.array([rng.uniform(60, 140, 3), rng.uniform(200, 240, 3), rng.uniform(0, 60, 3)])
    pixels = colours[np.asarray(classes)] + rng.normal(0, 10, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), np.asarray(classes)


digit_pictures, digit_labels = enlarged_digits("train")
if OFFLINE:
    pictures, true_labels = enlarged_digits("test")
    scenes = [sheet_of_paper(np.random.default_rng(seed))[0] for seed in (101, 102)]
else:
    pictures = scenes = [Image.fromarray(pixels) for pixels in load_sample_images().images]

# %% [markdown]
# ## The stand-ins
#
# Skip this cell with published models. It trains a classifier, a segmentation model, a tokenizer and a masked model
# by one plain loop. The other two notebooks show how models are trained.

# %%
SMALL = {
    "image_size": SIDE,
    "patch_size": 4,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "drop_path_rate": 0.0,
    "initializer_range": 0.2,  # wide: it learns within seconds
}


def fit(model, loss_of_a_batch, steps, learning_rate=3e-3):
    """Train a model."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss_of_a_batch(model).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimiser.step()
        schedule.step()
    model.eval()


def to_pixels(images):
    """Return pictures (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack([np.array(image) for image in images])).permute(0, 3, 1, 2) / 255


def train_stand_ins():
    """Leave four models in the work folder."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pixels = to_pixels(digit_pictures)

    classifier = BeitForImageClassification(preset("tiny", **SMALL, id2label=dict(enumerate(NAMES))))

    def classification_loss(model):
        some = torch.randint(len(pixels), (32,))
        return model(2 * pixels[some] - 1, labels=digit_labels[some]).loss

    fit(classifier, classification_loss, steps=200)

    segmenter = BeitForSemanticSegmentation(
        preset("tiny", **SMALL, id2label={0: "table", 1: "paper", 2: "ink"}, out_indices=[1, 2, 3, 4])
    )

    def segmentation_loss(model):
        sheets = []
        for picture, classes in (sheet_of_paper(rng) for _ in range(8)):
            top, left = rng.integers(0, picture.height - SIDE), rng.integers(0, picture.width - SIDE)
            cut = picture.crop((left, top, left + SIDE, top + SIDE))
            sheets.append((cut, classes[top : top + SIDE, left : left + SIDE]))
        images, maps = zip(*sheets, strict=True)
        return model(2 * to_pixels(images) - 1, labels=torch.from_numpy(np.stack(maps)).long()).loss

    fit(segmenter, segmentation_loss, steps=80)

    tokenizer = DiscreteVAE(
        DiscreteVAEConfig(vocab_size=64, hidden_size=16, blocks_per_group=1, groups=3, decoder_input_size=16)
    )

    def painting_loss(model):
        some = torch.randint(len(pixels), (32,))
        decoded, logits = model(pixels[some], temperature=0.5)
        _, imbalance = token_divergences(logits)  # all codes are to be used
        return torch.nn.functional.mse_loss(model.pixels(decoded), pixels[some]) + 0.01 * imbalance

    fit(tokenizer, painting_loss, steps=120, learning_rate=1e-2)

    pretrained = BeitForMaskedImageModeling(preset("tiny", **SMALL, vocab_size=64))
    with torch.inference_mode():
        tokens = tokenizer.encode(pixels).flatten(1)

    def masked_loss(model):
        some = torch.randint(len(pixels), (32,))
        hidden = torch.from_numpy(block_masks(Grid(6, 6), 14, rng, batch=32, min_block=4)).flatten(1)
        return model(2 * pixels[some] - 1, hidden, labels=tokens[some][hidden]).loss

    fit(pretrained, masked_loss, steps=250)

    tokenizer.save_pretrained(TOKENIZER)
    for model, folder in ((classifier, CLASSIFIER), (segmenter, SEGMENTER), (pretrained, PRETRAINED)):
        model.save_pretrained(folder)
        Preprocessing((SIDE, SIDE), SIDE).save_pretrained(folder)


NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
if OFFLINE:
    train_stand_ins()

# %% [markdown]
# ## Load
#
# `from_pretrained` takes a folder, a file of weights in any layout, a repository of the hub, or the name of a published
# checkpoint. `tasks` says what the model can do.


# %%
def load(name, **options):
    """Load a predictor, and say which model answers."""
    predictor = Predictor.from_pretrained(name, **options)
    parameters = sum(parameter.numel() for parameter in predictor.runner.model.parameters())
    print(f"{name}: {parameters:,} parameters, can {', '.join(sorted(predictor.tasks))}")
    return predictor


classifier = load(CLASSIFIER)
print(f"{len(classifier.classes)} classes: {', '.join(classifier.classes[:4])}, ...")

# %% [markdown]
# ## Classify

# %%
answers = classifier.classify(pictures[:8], top_k=3)

figure, axes = plt.subplots(2, len(answers), figsize=(1.5 * len(answers), 3.2), squeeze=False)
for column, (picture, answer) in enumerate(zip(pictures, answers, strict=False)):
    axes[0, column].imshow(picture)
    axes[0, column].set_axis_off()
    axes[1, column].barh(answer.labels[::-1], answer.probabilities[::-1])
    axes[1, column].set(xlim=(0, 1), xticks=[])
    axes[1, column].tick_params(axis="y", length=0, pad=-4)
    for label in axes[1, column].get_yticklabels():
        label.set_horizontalalignment("left")
figure.suptitle("The three most likely classes")
figure.tight_layout()
plt.show()

# %%
answers[0].show()
answers[0].to_json()

# %% [markdown]
# A picture may be a Pillow image, a path, the bytes of a file, or an array of pixels. Several are a list, or a folder,
# whose pictures are taken in the order of their paths.

# %%
folder = work / "folder"
folder.mkdir(parents=True, exist_ok=True)
pictures[0].save(folder / "first.png")

for form in (pictures[0], folder / "first.png", (folder / "first.png").read_bytes(), np.array(pictures[0]), folder):
    best = classifier.classify(form)[0]
    print(f"{type(form).__name__:>12}: {best.label} {best.probabilities[0]:.3f}")

# %% [markdown]
# ## Many pictures
#
# Pictures are opened when their turn comes and computed `batch_size` at a time. The answers are the same; the speed is
# not. For collections of any size, broken pictures included, there is `beit predict`.

# %%
many = (pictures * 32)[:64]
for batch_size in (1, 8, 64):
    begun = time.perf_counter()
    answers = classifier.classify(many, batch_size=batch_size)
    print(f"batches of {batch_size:2}: {len(many) / (time.perf_counter() - begun):5.0f} pictures per second")

if OFFLINE:
    answers = classifier.classify(pictures, top_k=1)
    right = [answer.label == NAMES[label] for answer, label in zip(answers, true_labels, strict=True)]
    print(f"stand-in classifier: accuracy {np.mean(right):.3f} on {len(right)} test pictures")

# %% [markdown]
# ## Half precision
#
# `precision="bf16"` computes in 16 bits: on a GPU that is faster, on a CPU only if it has instructions for it. Weights
# stay in 32 bits, and so do normalisation and softmax. Ask how much the answers change before you use it.

# %%
half = Predictor.from_pretrained(CLASSIFIER, precision="bf16")
exact = [dict(zip(answer.labels, answer.probabilities, strict=True)) for answer in classifier.classify(many, 1000)]
rounded = half.classify(many, top_k=1)
same = np.mean([answer.label == max(row, key=row.get) for answer, row in zip(rounded, exact, strict=True)])
change = max(abs(answer.probabilities[0] - row[answer.label]) for answer, row in zip(rounded, exact, strict=True))
print(f"{same:.0%} of {len(many)} best classes are the same; a probability changes by {change:.4f} at most")

# %% [markdown]
# ## Segment
#
# The class of every pixel, for pictures of any size: larger ones are taken in windows that overlap.

# %%
segmenter = load(SEGMENTER)
segmented = segmenter.segment(scenes)

figure, axes = plt.subplots(len(scenes), 3, figsize=(9, 3.2 * len(scenes)))
for row, found in zip(axes, segmented, strict=True):
    shown = {"picture": found.picture, "classes": found.colour_image(), "both": found.overlay()}
    for axis, (title, image) in zip(row, shown.items(), strict=True):
        axis.imshow(image)
        axis.set(title=title)
        axis.set_axis_off()
figure.tight_layout()
plt.show()
print({name: round(share, 2) for name, share in segmented[0].shares.items()})

# %% [markdown]
# `labels` is the array of class numbers; `index_image()` is the same as a PNG with a palette, to keep.

# %%
segmented[0].index_image().save(work / "classes.png")
segmented[0].labels.shape, segmented[0].labels.dtype

# %% [markdown]
# ## Embed
#
# One vector per picture, from any model: to search, to group, to train something small on. Here: the pictures whose
# vectors have the smallest angle to that of the first one in their row.

# %%
vectors = np.stack([answer.vector for answer in classifier.embed(pictures)])
unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
nearest = np.argsort(-unit @ unit.T, axis=1)

figure, axes = plt.subplots(min(4, len(pictures)), 7, figsize=(8, 5))
for row, order in zip(axes, nearest, strict=False):
    for axis in row:
        axis.set_axis_off()
    for axis, index in zip(row, order, strict=False):
        axis.imshow(pictures[index])
figure.suptitle(f"Pictures, and their neighbours by {vectors.shape[1]} numbers")
plt.show()

# %% [markdown]
# ## Attend
#
# Where each head of a layer looks: from the [CLS] token, or from a patch, counted from the top and the left.

# %%
last = classifier.attend(pictures[0])[0]
from_patch = classifier.attend(pictures[0], layer=0, patch=(2, 3))[0]

figure, axes = plt.subplots(2, 6, figsize=(9, 3.6))
for row, attention, name in ((0, last, "last layer, [CLS]"), (1, from_patch, "first layer, patch (2, 3)")):
    shown = {name: attention.picture, "all heads": attention.overlay()}
    shown |= {f"head {head}": attention.overlay(head) for head in range(4)}
    for axis, (title, image) in zip(axes[row], shown.items(), strict=True):
        axis.imshow(image)
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Reconstruct
#
# What a pre-trained model puts in the place of hidden patches, painted by the decoder of its tokenizer. It predicts a
# visual token for each of them; the visible patches are painted from the tokenizer's own tokens. `share` hides blocks
# as in pre-training, `mask` is one of your own.

# %%
painter = load(PRETRAINED, tokenizer=TOKENIZER)
side = painter.preprocessing.image_hw[0] // painter.config.patch_size  # patches
lower_half = np.zeros((side, side), dtype=bool)
lower_half[side // 2 :] = True

figure, axes = plt.subplots(2, 3, figsize=(9, 3.6))
masks = {"share=0.4": {"share": 0.4, "seed": 4}, "mask=the lower half": {"mask": lower_half}}
for row, (name, hidden) in zip(axes, masks.items(), strict=True):
    for axis, found in zip(row, painter.reconstruct((pictures * 2)[:3], **hidden), strict=True):
        axis.imshow(found.side_by_side())
        axis.set(title=f"{name}: seen, left, painted")
        axis.title.set_fontsize(8)
        axis.set_axis_off()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What a model cannot do
#
# is refused, with what it can.

# %%
try:
    painter.classify(pictures[0])
except ValueError as error:
    print(error)

# %% [markdown]
# ## Without Python
#
#     beit predict runs/inference/classifier pictures/ --output classes.csv
#     beit predict runs/inference/segmenter film.mp4 --task segment --output segmented/
#     beit serve runs/inference/classifier      a page to try it, and an interface for programs
#     beit export runs/inference/classifier --to onnx --output exported/
#
# A folder that `beit export` wrote is loaded by `Predictor.from_pretrained`, too.
