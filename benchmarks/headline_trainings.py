"""Trainings of the headline: what starts from a pre-trained BEiT, what does not, and the compute of each.

Compute is that of the matrix products of training steps, as `beit.tasks.pretrain.cost` counts it, whatever their
precision; measurements on the way are not part of it. That of a pre-trained model includes its pre-training, the fit of
its k-means tokenizer and the tokens of every picture.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

import convnet
from beit import BeitConfig
from beit.tasks.pretrain.cost import forward_flops, training_flops
from beit.tokenizer.kmeans import KMeansConfig
from cifar10 import HELD_OUT, PER_CLASS, TRAIN
from peers import ROOT
from trainings import lines, train

RECIPES = {
    "tokenizer": "recipes/kmeans_cifar10.yaml",
    "pretraining": "recipes/pretrain_cifar10_nano.yaml",
    "training": "recipes/finetune_cifar10_tiny.yaml",
}
BATCH = 64
EPOCHS = {"100%": 6, "10%": 20, "1%": 60}  # of fine-tuning, over the labelled pictures
LABELLED = {"100%": 48_000, "10%": 5_000, "1%": 500}
WARMUP = 0.05  # of the steps
# of the model, in a recipe of pre-training; what starts from random weights has the same
SIZES = ("size", "image_size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
         "intermediate_size", "layer_scale_init_value", "positions")  # fmt: skip
# Where all arms differ from the recipe.
SETTINGS = {
    "train.ema_decay": "null",
    "train.batch_size": BATCH,
    "run.precision": "auto",
    "run.log_every": 20,
    "run.save_every": 200,
}
# And where they differ from each other. `--choose` finds the best of each on held-out training pictures; without it the
# first is used. That of what is pre-trained was the best of three in trials of 500 steps with 10 % of the labels, on
# held-out training pictures: 60.6 %, half the rate and a decay of 0.8 59.7 %, AdamW 55.4 %.
CANDIDATES = {
    "pretrained": (
        {"optim.name": "muon", "optim.lr": 6e-3, "optim.layer_decay": 0.9},
        {"optim.name": "muon", "optim.lr": 3e-3, "optim.layer_decay": 0.8},
        {"optim.name": "adamw", "optim.lr": 1e-3, "optim.layer_decay": 0.8},
    ),
    # no layer-wise decay, which holds back a new model
    "scratch": (
        {"optim.name": "muon", "optim.lr": 6e-3, "optim.layer_decay": 1.0},
        {"optim.name": "muon", "optim.lr": 2e-3, "optim.layer_decay": 1.0},
        {"optim.name": "adamw", "optim.lr": 1e-3, "optim.layer_decay": 1.0},
    ),
    "convnet": (
        {"optim.name": "adamw", "optim.lr": 3e-3, "optim.layer_decay": 1.0, "run.precision": "fp32"},
        {"optim.name": "adamw", "optim.lr": 1e-3, "optim.layer_decay": 1.0, "run.precision": "fp32"},
    ),
}
PROGRAMS = dict.fromkeys(("pretrained", "scratch"), ("-m", "beit", "finetune")) | {
    "convnet": ("benchmarks/convnet.py",)
}


@dataclass(frozen=True)
class Pretraining:
    """A finished pre-training.

    Attributes:
        folder: Its run folder.
    """

    folder: Path

    @property
    def model(self):
        """The folder of the model."""
        return self.folder / "model"

    @cached_property
    def recipe(self):
        """The resolved recipe."""
        return yaml.safe_load((self.folder / "recipe.yaml").read_text())

    @cached_property
    def config(self):
        """The config of the model."""
        return BeitConfig.from_dict(json.loads((self.model / "config.json").read_text()))

    @property
    def pictures_seen(self):
        """Pictures of all steps, each as often as it was seen."""
        return lines(self.folder, "train")[-1]["step"] * self.recipe["train"]["batch_size"]

    @cached_property
    def pflop(self):
        """Compute of the pre-training, its tokenizer included."""
        recipe = self.recipe
        model = training_flops(self.config, recipe["mask"]["count"], recipe["decoder"]["layers"] or 0)
        fit, tokens = tokenizer_flops(ROOT / recipe["tokenizer"]["path"])
        return (fit + self.pictures_seen * (model + tokens)) / 1e15


@dataclass(frozen=True)
class Packaged:
    """The pre-trained model that the package brings, in the place of the run that made it.

    Its compute is that which was recorded of the run.

    Attributes:
        record: results/headline.json.
    """

    record: Path
    model: str = "beit/nano-cifar10"

    @property
    def folder(self):
        """Its name, where a run has its folder."""
        return Path(self.model)

    @cached_property
    def recipe(self):
        """The recipe, whose settings that stand there are those that count."""
        return yaml.safe_load((ROOT / RECIPES["pretraining"]).read_text())

    @cached_property
    def config(self):
        """The config of the model."""
        return BeitConfig.from_pretrained(self.model)

    @cached_property
    def _recorded(self):
        return json.loads(self.record.read_text())["pretraining"]

    @property
    def pictures_seen(self):
        """Pictures of all steps, each as often as it was seen."""
        return self._recorded["pictures_seen"]

    @property
    def pflop(self):
        """Compute of the pre-training, its tokenizer included."""
        return self._recorded["pflop"]


def tokenizer_flops(folder):
    """Return the operations of fitting a k-means tokenizer, and those of the tokens of one picture."""
    files = folder / "config.json", folder.parent / "recipe.yaml"
    found = json.loads(files[0].read_text()) if all(file.exists() for file in files) else {}
    if found.pop("model_type", None) != "beit-kmeans":
        raise SystemExit(
            f"{folder} is no k-means tokenizer in the folder of the run that fitted it, whose compute is counted; "
            f"take {RECIPES['tokenizer']}"
        )
    config = KMeansConfig(**found)
    values = config.channels * config.window**2
    one = 2.0 * values * (values + config.vocab_size)  # whitening of a window, and its distances to all clusters
    clustering = yaml.safe_load(files[1].read_text())["clustering"]
    return clustering["windows"] * clustering["epochs"] * one, (config.image_size // config.patch_size) ** 2 * one


def pretraining(named, runs):
    """Return the pre-training that is named, by its run folder or its model, or else the recipe's, after running it."""
    if named is not None:
        folder = named if (named / "recipe.yaml").exists() else named.parent
        if not ((folder / "recipe.yaml").exists() and (folder / "model" / "config.json").exists()):
            raise SystemExit(f"{named} is no finished pre-training; name its run folder, with recipe.yaml and model/")
        return Pretraining(folder.resolve())
    tokens, folder = runs / "tokenizer", runs / "pretraining"
    train([(tokens, ["-m", "beit", "tokenizer", "cluster", RECIPES["tokenizer"], f"--data.path={TRAIN}"])])
    train([(folder, ["-m", "beit", "pretrain", RECIPES["pretraining"], f"--data.path={TRAIN}",
                     f"--tokenizer.path={tokens / 'model'}"])])  # fmt: skip
    return Pretraining(folder)


def picture_pflop(arm, config):
    """Return the compute of one picture in a step of an arm."""
    return (convnet.training_flops(config.image_size) if arm == "convnet" else training_flops(config, 0)) / 1e15


def probe_pflop(config, pictures):
    """Return the compute of the features of some pictures."""
    return pictures * forward_flops(config, 0) / 1e15


def steps_of(arm, share, before, scale=1.0):
    """Return the steps of an arm: of fine-tuning by its epochs, of the others so many that all compute is equal.

    Args:
        arm: One of `CANDIDATES`.
        share: Of the labels.
        before: The `Pretraining`.
        scale: Factor on the compute of everything, below 1 in a trial.
    """
    tuning = EPOCHS[share] * LABELLED[share] / BATCH
    if arm == "pretrained":
        return max(2, round(scale * tuning))
    total = before.pflop + BATCH * tuning * picture_pflop("pretrained", before.config)
    return max(2, round(scale * total / (BATCH * picture_pflop(arm, before.config))))


def cost_of(arm, share, before):
    """Return all compute of an arm in PFLOP, and all pictures that it sees."""
    seen = BATCH * steps_of(arm, share, before)
    pflop = seen * picture_pflop(arm, before.config)
    return (pflop + before.pflop, seen + before.pictures_seen) if arm == "pretrained" else (pflop, seen)


def arguments(arm, share, seed, settings, before, scale=1.0):
    """Return the arguments of a training, with these settings of its optimiser."""
    steps, model = steps_of(arm, share, before, scale), before.recipe["model"]
    new = [f"--model.{name}={model[name]}" for name in SIZES if model.get(name) is not None]
    start = [f"--checkpoint={before.model}"] if arm == "pretrained" else ["--checkpoint=null", *new]
    options = {
        "data.path": TRAIN,
        "data.val_share": HELD_OUT,
        "data.per_class": json.dumps(PER_CLASS[share]),
        "train.max_steps": steps,
        "optim.warmup_steps": int(WARMUP * steps),
        "run.seed": seed,
        **SETTINGS,
        **settings,
    }
    return [*PROGRAMS[arm], RECIPES["training"], *start, *(f"--{name}={value}" for name, value in options.items())]
