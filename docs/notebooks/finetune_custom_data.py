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
# # Fine-tune a BEiT on your own pictures
#
# From a folder of pictures to a classifier, its learning curve, its predictions and its mistakes. The pictures are
# handwritten digits that scikit-learn ships and the model is tiny, so that everything here runs in about a minute
# on one core, without a network. For real work two settings change: the folder, and the checkpoint to start from.
# Both are treated at the end.
#
#     pip install -c constraints.txt -e '.[train]'

# %%
import csv
import io
import json
import tarfile
from pathlib import Path

import datasets
import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from beit import BeitForImageClassification, BeitImageProcessor, Predictor, preset
from beit.data import open_source
from beit.evaluation.classification.evaluate import evaluate
from beit.settings.evaluate import EvaluateJob
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import (
    AugmentSettings,
    DataSettings,
    ModelSettings,
    OptimSettings,
    PictureSettings,
    RunSettings,
    TrainSettings,
    ValidationSettings,
)
from beit.tasks.finetune.task import finetune

work = Path("runs/custom_data")

# %% [markdown]
# ## A folder of pictures
#
# One folder per class, its name is the class's name. The cell makes two such folders, to train on and to test on;
# leave it out if you have your own.
#
#     runs/custom_data/train/eight/0007.png
#     runs/custom_data/train/five/0005.png
#     ...

# %%
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

for part in ("train", "test"):
    digits = open_source(f"digits:{part}")
    for index, label in enumerate(digits.labels):
        folder = work / part / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        digits.load(index).resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{index:04d}.png")

train_pictures, test_pictures = open_source(str(work / "train")), open_source(str(work / "test"))
print(f"{len(train_pictures)} pictures to train on, {len(test_pictures)} to test on, of {train_pictures.classes}")

# %% [markdown]
# ## Look at the data
#
# Wrong labels, empty pictures and a class with hardly any pictures are found by looking, and never again so
# cheaply.

# %%
figure, axes = plt.subplots(len(train_pictures.classes), 8, figsize=(8, 10))
for label, row in enumerate(axes):
    of_class = np.flatnonzero(train_pictures.labels == label)
    for axis, index in zip(row, of_class, strict=False):
        axis.imshow(train_pictures.load(index))
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(
        f"{train_pictures.classes[label]} ({len(of_class)})", rotation="horizontal", ha="right", va="center"
    )
figure.suptitle("Training pictures, and how many there are of each class")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Something to start from
#
# A real fine-tuning starts from a published checkpoint, by its name. Here a tiny model with random weights stands
# in for it; its starting values are wide, so that it learns within seconds.

# %%
torch.manual_seed(0)
config = preset(
    "tiny",
    image_size=16,
    patch_size=4,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    initializer_range=0.2,
    use_mask_token=False,
    use_shared_relative_position_bias=False,
    use_relative_position_bias=True,
    id2label=dict(enumerate(train_pictures.classes)),
)
BeitForImageClassification(config).save_pretrained(work / "start")
BeitImageProcessor(size=16, do_center_crop=False).save_pretrained(work / "start")

# %% [markdown]
# ## Fine-tune
#
# The same settings as those of `beit finetune`, which takes them from a recipe and from options. A digit that is
# flipped is another sign, so flips are off; most other objects may be flipped. The run folder holds
# everything: recipe, metrics, checkpoints, model, and `report.html`. Run the cell again and it continues, or
# returns at once if it is done.

# %%
job = FinetuneJob(
    run=RunSettings(output=str(work / "run"), log_every=5),
    data=DataSettings(path=str(work / "train"), val_path=str(work / "test"), workers=0),
    augment=AugmentSettings(crop_scale=(0.8, 1.0), crop_aspect=(0.9, 1.1), flip=0.0, color_jitter=0.0),
    checkpoint=str(work / "start"),
    model=ModelSettings(crop_share=1.0),
    optim=OptimSettings(lr=3e-3, min_lr=1e-4, warmup_steps=10, layer_decay=1.0, clip_grad=3.0),
    train=TrainSettings(batch_size=32, max_steps=240),
    validation=ValidationSettings(every=40),
)
run = finetune(job)
result = run.read_result()
print(f"beit finetune: accuracy {result['accuracy']:.3f} on {result['pictures']} test pictures")

# %% [markdown]
# ## The learning curve
#
# `metrics.jsonl` has one line per measurement. The loss on training pictures is that of the objective, with its
# label smoothing and augmentation, and so lies higher than one would expect beside the other.

# %%
lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
training = [line for line in lines if line["split"] == "train"]
measured = [line for line in lines if "held_out_loss" in line]

figure, axes = plt.subplots(1, 2, figsize=(9, 3))
axes[0].plot([line["step"] for line in training], [line["loss"] for line in training], label="training")
axes[0].plot([line["step"] for line in measured], [line["held_out_loss"] for line in measured], "o-", label="test")
axes[0].set(xlabel="step", title="Loss", ylim=(0, None))
axes[0].legend()
axes[1].plot([line["step"] for line in training], [line["lr"] for line in training])
axes[1].set(xlabel="step", title="Learning rate", ylim=(0, None))
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Predict
#
# A `Predictor` is a model with its preprocessing; it takes paths, Pillow pictures and bytes, and answers with class
# names.

# %%
predictor = Predictor.from_pretrained(run.model)
pictures = [test_pictures.load(index) for index in range(len(test_pictures))]
predictions = predictor.classify(pictures, top_k=3)

figure, axes = plt.subplots(2, 6, figsize=(9, 4.2))
for axis, index in zip(axes.flat, range(0, len(pictures), len(pictures) // 12), strict=False):
    best = predictions[index]
    axis.imshow(pictures[index])
    axis.set(xticks=[], yticks=[], title=f"{best.label} {best.probabilities[0]:.0%}")
figure.suptitle("Predictions")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What is taken for what
#
# Rows are true classes, columns predictions. Below, the mistakes that the model is surest of: often the label is
# wrong there, or the picture shows something that the training pictures lack.

# %%
classes = predictor.classes
predicted = np.array([classes.index(prediction.label) for prediction in predictions])
confusion = np.zeros((len(classes), len(classes)), dtype=int)
np.add.at(confusion, (test_pictures.labels, predicted), 1)

figure, axis = plt.subplots(figsize=(6, 5))
axis.imshow(confusion, cmap="Blues")
for (true, guess), count in np.ndenumerate(confusion):
    if count:
        axis.text(guess, true, count, ha="center", va="center", color="white" if count > 20 else "black")
axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
axis.set_yticks(range(len(classes)), classes)
axis.set(xlabel="predicted", ylabel="true")
figure.tight_layout()
plt.show()

# %%
mistakes = np.flatnonzero(predicted != test_pictures.labels)
surest = sorted(mistakes, key=lambda index: -predictions[index].probabilities[0])[:12]
figure, axes = plt.subplots(2, 6, figsize=(9, 4.6))
for axis in axes.flat:
    axis.set_axis_off()
for axis, index in zip(axes.flat, surest, strict=False):
    axis.imshow(pictures[index])
    axis.set_title(f"{classes[test_pictures.labels[index]]}, taken\nfor {predictions[index].label}", fontsize=9)
figure.suptitle(f"{len(mistakes)} mistakes of {len(pictures)}")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## The same by a loop of your own
#
# The models are ordinary modules and the processor is the collate function; no trainer is needed. `Trainer` of
# transformers takes both as well.


# %%
class Pictures(Dataset):
    """Pictures with their classes."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        return self.source.load(index), int(self.source.labels[index])


processor = BeitImageProcessor.from_pretrained(work / "start")


def collate(examples):
    """Make a batch of pictures of any size."""
    images, labels = zip(*examples, strict=True)
    return processor(list(images), return_tensors="pt").pixel_values, torch.tensor(labels)


torch.manual_seed(0)
model = BeitForImageClassification.from_pretrained(work / "start")
optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
loader = DataLoader(Pictures(train_pictures), batch_size=32, shuffle=True, drop_last=True, collate_fn=collate)

model.train()
for epoch in range(5):
    total = 0.0
    for pixel_values, labels in loader:
        loss = model(pixel_values, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item()
    print(f"epoch {epoch + 1}: mean loss {total / len(loader):.3f}")

model.eval()
right = 0
with torch.inference_mode():
    for pixel_values, labels in DataLoader(Pictures(test_pictures), batch_size=100, collate_fn=collate):
        right += (model(pixel_values).logits.argmax(-1) == labels).sum().item()
print(f"plain loop: accuracy {right / len(test_pictures):.3f}")

model.save_pretrained(work / "plain_loop")
processor.save_pretrained(work / "plain_loop")  # beside the model: Predictor and `beit evaluate` read both

# %% [markdown]
# ## Start from a published checkpoint
#
# Nobody trains a large model on a few thousand pictures from random weights. With a network, take Microsoft's base
# model, pre-trained on ImageNet-22K without labels; layer-wise learning rates change what lies near the pixels the
# least. `beit models` lists the others.
#
# ```python
# job = FinetuneJob(
#     run=RunSettings(output="runs/mine"),
#     data=DataSettings(path="my_classes"),
#     checkpoint="microsoft/beit-base-patch16-224-pt22k",
#     optim=OptimSettings(lr=5e-4, warmup_epochs=2),
#     train=TrainSettings(batch_size=64, epochs=20),
# )
# run = finetune(job)
# ```
#
# In a loop of your own it is one line, and a head for as many classes as you have:
#
# ```python
# model = BeitForImageClassification.from_pretrained("microsoft/beit-base-patch16-224-pt22k", num_labels=10)
# processor = BeitImageProcessor.from_pretrained("microsoft/beit-base-patch16-224-pt22k")
# ```

# %% [markdown]
# ## Your own pictures, in other forms
#
# A folder with one folder per class is `DataSettings(path="my_classes")`; without `val_path`, `val_share` of it is
# held out. Here are the same test pictures as a folder with a file of labels, as parquet, and as a tar file.

# %%
flat = work / "flat"
flat.mkdir(exist_ok=True)
rows = []
for index, picture in enumerate(pictures):
    picture.save(flat / f"{index}.png")
    rows.append({"file_name": f"{index}.png", "label": classes[test_pictures.labels[index]]})

with open(work / "labels.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, ["file_name", "label"])
    writer.writeheader()
    writer.writerows(rows)

datasets.disable_progress_bars()
features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)})
columns = {
    "image": [{"bytes": (flat / row["file_name"]).read_bytes(), "path": row["file_name"]} for row in rows],
    "label": [row["label"] for row in rows],
}
datasets.Dataset.from_dict(columns, features).to_parquet(work / "test.parquet")

with tarfile.open(work / "test.tar", "w") as tar:
    for index, label in enumerate(test_pictures.labels):
        # two files of one name are one sample: a picture and its class
        sample = {"png": (flat / f"{index}.png").read_bytes(), "cls": str(label).encode()}
        for kind, content in sample.items():
            member = tarfile.TarInfo(f"{index:04d}.{kind}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

forms = {
    "a file of labels": PictureSettings(path=str(flat), labels=str(work / "labels.csv"), workers=0),
    "parquet": PictureSettings(path=str(work / "test.parquet"), workers=0),
    "tar": PictureSettings(path=str(work / "test.tar"), workers=0),
}
for form, data in forms.items():
    numbers = evaluate(EvaluateJob(model=str(run.model), data=data)).numbers()
    print(f"{form}: accuracy {numbers['accuracy']:.3f} on {numbers['pictures']:.0f} pictures")

# %% [markdown]
# Any of these is the `data` of a `FinetuneJob`, too, and `--data.path` and `--data.labels` of `beit finetune`. In a
# file of labels several per picture may stand (`labels`, separated by `;`), or a number (`value`). Large
# collections are many parquet or tar files, named by their folder or by a pattern such as
# `shards/train-{000..099}.tar`, or a data set of the Hugging Face hub, `hub:owner/name:train`.
