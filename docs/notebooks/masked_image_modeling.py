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
# # Masked image modelling, step by step
#
# BEiT learns from pictures without labels: a tokenizer turns a picture into visual tokens, a block of patches is
# hidden, and the model predicts the tokens of the hidden patches from the visible ones
# ([arXiv 2106.08254](https://arxiv.org/abs/2106.08254), section 2). Here are all the parts, on handwritten digits and
# with very small models, so that everything runs in about a minute on one core without a network.
#
#     pip install -c constraints.txt -e '.[train]'

# %%
import json
import logging
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from beit import BeitForImageClassification, BeitForMaskedImageModeling, Predictor, load_tokenizer, preset
from beit.data import few_per_class, open_source
from beit.geometry import Grid, block_masks, random_masks
from beit.image import Preprocessing
from beit.settings.groups import AugmentSettings, DataSettings, ModelSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.pretrain import MaskSettings, PretrainJob, PretrainTokenizerSettings
from beit.settings.tokenizer import CodebookLossSettings, CodebookSettings, TokenizerJob
from beit.tasks.pretrain.task import pretrain
from beit.tasks.tokenizer.dvae import train_tokenizer
from beit.tokenizer import TokenEncoder, codebook_usage, count_tokens

work = Path("runs/masked_image_modeling")

# %% [markdown]
# ## Pictures
#
# 1,297 to learn from, 500 held out, 8 x 8 pixels each. The model sees them at 16 x 16 pixels in 4 x 4 patches, the
# tokenizer at 8 x 8 pixels: one token for every patch. `DataSettings(path="my_pictures")` takes yours.

# %%
DATA = DataSettings(path="digits:train", val_path="digits:test", workers=0)
CROPS = AugmentSettings(crop_scale=(0.6, 1.0), crop_aspect=(0.8, 1.25), flip=0.0, color_jitter=0.0)
train, test = open_source("digits:train"), open_source("digits:test")


def pixels_of(source, side):
    """Return all pictures of a source (P, 3, side, side), in [0, 1]."""
    resized = [source.load(index).resize((side, side), Image.Resampling.BICUBIC) for index in range(len(source))]
    return torch.from_numpy(np.stack([np.array(picture) for picture in resized])).permute(0, 3, 1, 2) / 255


def show(rows, title, names=None):
    """Draw rows of pictures (C, H, W), in [0, 1]."""
    figure, axes = plt.subplots(len(rows), len(rows[0]), figsize=(len(rows[0]), 1.05 * len(rows) + 0.4), squeeze=False)
    for number, (axes_of_row, row) in enumerate(zip(axes, rows, strict=True)):
        for axis, picture in zip(axes_of_row, row, strict=True):
            axis.imshow(picture.permute(1, 2, 0).clamp(0, 1))
            axis.set(xticks=[], yticks=[])
        if names:
            axes_of_row[0].set_ylabel(names[number], rotation="horizontal", ha="right", va="center")
    figure.suptitle(title)
    plt.show()


# %% [markdown]
# ## A tokenizer
#
# A discrete VAE learns a codebook of 64 visual tokens, from which its decoder paints pictures. OpenAI's, which the
# published models predict, has 8,192 (`load_tokenizer("openai/DALL-E")`).

# %%
tokenizer_run = train_tokenizer(
    TokenizerJob(
        run=RunSettings(output=str(work / "tokenizer"), report=False),
        data=DATA,
        augment=CROPS,
        image_size=8,
        codebook=CodebookSettings(vocab_size=64, hidden_size=32, blocks_per_group=1, groups=2, decoder_input_size=32),
        loss=CodebookLossSettings(
            reconstruction="l2", temperature=(0.5, 0.0625), kl_weight=(0.0, 0.0), balance_weight=0.06
        ),
        optim=OptimSettings(lr=1e-2, warmup_steps=10),
        train=TrainSettings(batch_size=64, max_steps=160),
    )
)
tokenizer = load_tokenizer(tokenizer_run.model)
encoder = TokenEncoder(tokenizer)  # in evaluation mode, without gradients, on any device

# %% [markdown]
# Held-out digits, and what is painted from their 16 tokens. What is lost here, no model can predict.

# %%
small = pixels_of(test, 8)
tokens = encoder(small)  # (500, 4, 4)
with torch.inference_mode():
    show([small[:10], tokenizer.decode(tokens[:10])], "Held-out digits", ["picture", "from tokens"])

usage = codebook_usage(count_tokens(tokens, tokenizer.vocab_size))
print(usage)

# %% [markdown]
# ## Visual tokens
#
# A token is a number: an entry of the codebook. Patches that look alike have the same one.

# %%
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6))
for axis, picture, numbers in zip(axes, small, tokens, strict=False):
    axis.imshow(picture.permute(1, 2, 0), alpha=0.5, extent=(0, 4, 4, 0))
    for (row, col), number in np.ndenumerate(numbers.numpy()):
        axis.text(col + 0.5, row + 0.5, number, ha="center", va="center", color="tab:red")
    axis.set(xticks=range(5), yticks=range(5), xticklabels=[], yticklabels=[])
    axis.grid(visible=True)
figure.suptitle("The visual tokens of four digits")
plt.show()

# %% [markdown]
# ## Masks
#
# Blocks are hidden, not single patches, or the model could look at the neighbours: rectangles of at least 16 patches
# until at most 75 of the 14 x 14 patches of a large model are hidden (algorithm 1 of the paper). Below, masks of single
# patches for comparison.

# %%
rng = np.random.default_rng(0)
published = Grid(14, 14)
blocks = block_masks(published, 75, rng, batch=8)
single = random_masks(published, 75, [np.random.default_rng(number) for number in range(8)])
as_pictures = [torch.from_numpy(1.0 - masks)[:, None].expand(-1, 3, -1, -1) for masks in (blocks, single)]
show(as_pictures, "Hidden patches in black", ["blocks", "single patches"])
print(f"hidden by blocks: {', '.join(str(mask.sum()) for mask in blocks)} of {published.patches}")

# %% [markdown]
# ## Pre-train in a loop of your own
#
# The whole of masked image modelling: hide, predict, compare. True in the mask is hidden; labels are the tokens of the
# hidden patches, all pictures after one another.

# %%
SIZES = {
    "image_size": 16,
    "patch_size": 4,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
STEPS, BATCH = 350, 64

torch.manual_seed(0)
model = BeitForMaskedImageModeling(preset("tiny", **SIZES, vocab_size=tokenizer.vocab_size, drop_path_rate=0.0))
grid = model.beit.embeddings.grid
pictures, labels = 2 * pixels_of(train, 16) - 1, encoder(pixels_of(train, 8)).flatten(1)
optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=STEPS)

losses = []
model.train()
for _ in range(STEPS):
    some = torch.randint(len(pictures), (BATCH,))
    hidden = torch.from_numpy(block_masks(grid, 7, rng, batch=BATCH, min_block=2)).flatten(1)
    loss = model(pictures[some], hidden, labels=labels[some][hidden]).loss
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
    optimiser.step()
    schedule.step()
    losses.append(loss.item())

model.save_pretrained(work / "own_loop")
Preprocessing((16, 16), 16).save_pretrained(work / "own_loop")  # how pictures are shown to it

# %% [markdown]
# Below the dashed line a model knows more than how frequent the tokens are: it has looked at the visible patches.

# %%
shares = torch.bincount(labels.flatten()) / labels.numel()
frequencies_alone = -torch.special.xlogy(shares, shares).sum().item()

figure, axis = plt.subplots(figsize=(7, 2.8))
axis.plot(losses)
axis.axhline(frequencies_alone, color="black", linestyle="--")
axis.set(xlabel="step", title="Loss on the tokens of hidden patches", ylim=(0, None))
plt.show()

# %% [markdown]
# ## What it puts in the place of hidden patches
#
# Held-out digits: the picture, what the model sees of it, and what the tokenizer's decoder paints from the predicted
# tokens of the hidden patches and the true ones of the others.

# %%
painter = Predictor.from_pretrained(work / "own_loop", tokenizer=tokenizer)
figure, axes = plt.subplots(2, 3, figsize=(10, 2.8))
for index, axis in enumerate(axes.flat):
    axis.imshow(painter.reconstruct(test.load(index), seed=index)[0].side_by_side())
    axis.set_axis_off()
figure.suptitle("Seen, left, painted")
plt.show()

# %% [markdown]
# ## The same by `beit.tasks.pretrain.task`
#
# What the loop above leaves out: random crops, reading pictures while the model computes, several GPUs, checkpoints
# from which a stopped run continues bit for bit, measuring on held-out pictures, a report. It is also the command
# `beit pretrain`. This run is short and goes on with the model of the loop (`checkpoint`); the gallery grows meanwhile.

# %%
run = pretrain(
    PretrainJob(
        run=RunSettings(output=str(work / "pretrain"), log_every=5),
        data=DATA,
        augment=CROPS,
        model=ModelSettings(drop_path_rate=0.0, crop_share=1.0),
        checkpoint=str(work / "own_loop"),
        mask=MaskSettings(count=7, min_block=2),
        tokenizer=PretrainTokenizerSettings(path=str(tokenizer_run.model)),
        optim=OptimSettings(lr=1e-3, warmup_steps=10),
        train=TrainSettings(batch_size=64, max_steps=70),
    )
)
measured = run.read_result()
print(
    f"of the hidden tokens of {measured['pictures']} held-out pictures {measured['accuracy']:.1%} are predicted right; "
    f"always the most frequent one: {measured['frequency_accuracy']:.1%}"
)
print(sorted(path.name for path in run.path.iterdir()))

# %%
lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
lines = [line for line in lines if line["split"] == "train"]
gallery = ["picture", "seen", *(path.stem for path in sorted(run.pictures.glob("step_*.png"))[::4]), "true_tokens"]

figure, axes = plt.subplots(1, 2, figsize=(9, 3))
for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
    axis.plot([line["step"] for line in lines], [line[name] for line in lines])
    axis.set(xlabel="step", title=f"{name}, hidden patches", ylim=(0, None))
plt.show()

figure, axes = plt.subplots(len(gallery), 1, figsize=(7, len(gallery)))
for axis, name in zip(axes, gallery, strict=True):
    axis.imshow(Image.open(run.pictures / f"{name}.png"))
    axis.set(xticks=[], yticks=[])
    axis.set_ylabel(name.replace("_0000", " ").replace("_", " "), rotation="horizontal", ha="right", va="center")
plt.show()

# %% [markdown]
# ## What is it worth?
#
# Few labels, ten per class, drawn three times. First a linear probe: logistic regression on the features of the model
# as it is, against the same model with random weights. Then fine-tuning of all weights, against training from scratch
# with the same pictures and steps.

# %%
logging.getLogger("beit").setLevel(logging.ERROR)  # every new head would be announced
torch.manual_seed(1)
random_model = BeitForMaskedImageModeling(model.config)
random_model.save_pretrained(work / "random")
Preprocessing((16, 16), 16).save_pretrained(work / "random")
starts = {"pre-trained": run.model, "random weights": work / "random"}
test_pictures = 2 * pixels_of(test, 16) - 1


@cache
def features(start):
    """Return the features of all pictures, to train on and to test on."""
    predictor = Predictor.from_pretrained(start)
    parts = [[source.load(index) for index in range(len(source))] for source in (train, test)]
    return [np.stack([answer.vector for answer in predictor.embed(part, batch_size=256)]) for part in parts]


def probe(start, chosen):
    """Return the accuracy of logistic regression on the features, after a few labels."""
    to_train, to_test = features(start)
    learned = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    learned.fit(to_train[chosen], train.labels[chosen])
    return learned.score(to_test, test.labels)


def tune(start, chosen, steps=40):
    """Return the accuracy of a fine-tuned model, after a few labels."""
    torch.manual_seed(0)
    classifier = BeitForImageClassification.from_pretrained(start, num_labels=10, output_loading_info=False)
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    classifier.train()
    for _ in range(steps):
        loss = classifier(pictures[chosen], labels=torch.from_numpy(train.labels[chosen])).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 3.0)
        optimiser.step()
        schedule.step()
    with torch.inference_mode():
        predicted = classifier.eval()(test_pictures).logits.argmax(-1).numpy()
    return float((predicted == test.labels).mean())


draws = [few_per_class(train, 10, seed) for seed in range(3)]
chosen = [np.array([draw.origin(index) for index in range(len(draw))]) for draw in draws]
accuracies = {
    (way.__name__, name): [way(start, few) for few in chosen] for way in (probe, tune) for name, start in starts.items()
}
for (way, name), values in accuracies.items():
    print(f"{way}, {name}: accuracy {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}")

# %%
figure, axis = plt.subplots(figsize=(6, 3))
for offset, name in enumerate(starts):
    values = [accuracies[way, name] for way in ("probe", "tune")]
    places = np.arange(2) + 0.4 * offset
    axis.bar(places, np.mean(values, axis=1), 0.38, yerr=np.std(values, axis=1, ddof=1), label=name)
axis.set_xticks(np.arange(2) + 0.2, ["linear probe", "fine-tuning"])
axis.set(ylabel="test accuracy", ylim=(0, 1), title="Ten labels per class, mean and deviation of three draws")
axis.legend()
plt.show()

# %% [markdown]
# ## From here
#
# The model of either way is a folder, which `beit finetune --checkpoint` and `beit segment --checkpoint` start from.
# For real pictures take a published tokenizer, and a recipe:
#
#     beit pretrain recipes/pretrain_small.yaml --data.path my_pictures/ --dry-run
#     beit pretrain recipes/pretrain_small.yaml --data.path my_pictures/
#
# The dry run prints parameters, memory, steps and the expected time before anything is computed. Continue from a
# published model with `--checkpoint microsoft/beit-base-patch16-224-pt22k` instead of starting from random weights.
