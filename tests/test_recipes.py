import math
import re
from functools import cache
from pathlib import Path

import pytest

from beit.catalog import public_checkpoint
from beit.cli.parser import parse_job
from beit.data import read_classes
from beit.engine.schedule import (
    FINETUNED_BEFORE,
    FINETUNING,
    FINETUNING_LARGE,
    PRETRAINING,
    PRETRAINING_MUON,
    PROBE,
    SEGMENTATION,
    SEGMENTATION_FINETUNED_BEFORE,
)
from beit.geometry import patch_grid
from beit.settings.finetune import FinetuneJob
from beit.settings.model import model_config
from beit.settings.pretrain import PretrainJob
from beit.settings.segment import SegmentJob
from beit.settings.tokenizer import ClusterJob, DistillJob, TokenizerJob
from beit.tasks.pretrain.cost import training_flops
from beit.tasks.pretrain.masks import mask_plan

DATA = "--data.path=pictures"
REQUIRED = {"segment": ["--label_maps.path=maps", "--label_maps.classes=classes.txt"], "vq": ["--teacher=model"]}
FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(FOLDER.glob("pretrain_*.yaml"))
JOBS = {"pretrain": PretrainJob, "tokenizer": TokenizerJob, "vq": DistillJob, "kmeans": ClusterJob,
        "teacher": FinetuneJob, "finetune": FinetuneJob, "linear": FinetuneJob, "segment": SegmentJob}  # fmt: skip


@cache
def recipe(path):
    """The settings of a recipe, with the data that the person who runs it names."""
    kind = path.stem.split("_")[0]
    return parse_job(JOBS[kind], "beit", "", [str(path), DATA, *REQUIRED.get(kind, [])])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_one_of_a_job_and_says_what_to_expect(path):
    job = recipe(path)
    assert job.run.output == f"runs/{path.stem}"
    about = path.read_text().split("run:")[0]
    assert any(word in about for word in ("Expected", "Published", "Source")), "the result, or where it was published"


# Settings of the published runs: learning rate, clip, layer scale, warm-up in epochs or steps, epochs, mean, batch
IMAGENET, HALF = (0.485, 0.456, 0.406), None
PUBLISHED = {
    "base_in1k": ("base", 3.0, 0.1, (10, None), 800, IMAGENET),
    "large_in1k": ("large", 1.0, 1e-5, (10, None), 800, IMAGENET),
    "base_in22k": ("base", 3.0, 0.1, ("auto", 10000), 150, HALF),
    "large_in22k": ("large", 1.0, 1e-5, ("auto", 10000), 150, HALF),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_runs_number_by_number(name):
    size, clip, scale, warmup, epochs, mean = PUBLISHED[name]
    job = recipe(FOLDER / f"pretrain_{name}.yaml")
    optim, train, augment, config = job.optim, job.train, job.augment, model_config(job.model)
    assert (optim.lr, optim.min_lr, optim.weight_decay, optim.weight_decay_end) == (1.5e-3, 1e-5, 0.05, None)
    assert (optim.betas, optim.eps, optim.clip_grad, optim.layer_decay) == ((0.9, 0.98), 1e-8, clip, 1.0)
    assert (optim.warmup_epochs, optim.warmup_steps) == warmup
    assert (train.batch_size, train.epochs, train.max_steps) == (2048, epochs, None)
    assert (augment.crop_scale, augment.crop_aspect) == ((0.08, 1.0), (0.75, 1.3333))
    assert (augment.flip, augment.color_jitter) == (0.5, 0.4)
    assert (job.model.size, job.model.image_mean) == (size, mean)
    assert job.model.image_std == ((0.229, 0.224, 0.225) if mean else None)
    assert (config.layer_scale_init_value, config.layer_norm_eps, config.drop_path_rate) == (scale, 1e-6, 0.1)
    assert config.use_shared_relative_position_bias
    assert not config.use_absolute_position_embeddings
    assert (config.image_size, config.patch_size, config.vocab_size) == (224, 16, 8192)
    assert (job.mask.count, job.mask.min_block, job.mask.min_aspect, job.mask.exact) == (75, 16, 0.3, False)
    assert job.tokenizer.path == "openai/DALL-E"


# Settings of the published fine-tunings: rate, warm-up, epochs, batch, weight decay, layer decay, drop path, clip,
# mixed, erasing, pixels
TUNED = {
    "base_in1k": (4e-3, 20, 100, 1024, 0.05, 0.65, 0.1, None, True, 0.25, 224),
    "large_in1k": (1e-3, 5, 50, 1024, 0.05, 0.75, 0.2, None, True, 0.25, 224),
    "base_in1k_from_ft22k": (2e-5, 5, 30, 512, 1e-8, 0.85, 0.1, None, False, 0.25, 224),
    "base_384": (2e-5, 5, 30, 512, 1e-8, 0.85, 0.1, None, False, 0.25, 384),
    "base_in22k": (3e-3, 5, 90, 4096, 0.05, 0.65, 0.2, 3.0, False, 0.25, 224),
    "cifar100": (4e-3, 20, 150, 512, 0.3, 0.65, 0.1, None, True, 0.0, 224),
}


@pytest.mark.parametrize("name", TUNED)
def test_the_published_fine_tunings_number_by_number(name):
    rate, warmup, epochs, batch, weight_decay, layer_decay, drop_path, clip, mixed, erase, pixels = TUNED[name]
    job = recipe(FOLDER / f"finetune_{name}.yaml")
    optim, train, augment, operations = job.optim, job.train, job.augment, job.rand_augment
    assert (optim.lr, optim.min_lr, optim.warmup_epochs, optim.warmup_steps) == (rate, 1e-6, warmup, None)
    assert (optim.weight_decay, optim.layer_decay, optim.clip_grad) == (weight_decay, layer_decay, clip)
    assert (optim.betas, optim.eps) == ((0.9, 0.999), 1e-8)
    assert (train.epochs, train.max_steps, train.batch_size) == (epochs, None, batch)
    assert (augment.crop_scale, augment.flip, augment.color_jitter) == ((0.08, 1.0), 0.5, 0.0)
    assert (operations.operations, operations.magnitude, operations.magnitude_std) == (2, 9, 0.5)
    assert (job.erase, job.label_smoothing) == (erase, 0.1)
    assert (job.mixing.mixup, job.mixing.cutmix) == ((0.8, 1.0) if mixed else (0, 0))
    assert (job.mixing.probability, job.mixing.switch) == (1.0, 0.5)
    assert (job.model.drop_path_rate, job.model.image_size) == (drop_path, pixels)
    assert job.model.crop_share == (1.0 if pixels >= 384 else 0.875)
    public = public_checkpoint(job.checkpoint)
    assert public.size == named_size(name)
    assert public.task.startswith("ImageNet-22K" if "from_ft22k" in name or pixels == 384 else "visual tokens")


def named_size(name):
    """The size that a recipe's name says; one without it is of the base model."""
    return "large" if name.startswith("large") else "base"


@pytest.mark.parametrize(
    ("rate", "name"),
    [
        (PRETRAINING, "pretrain_base_in1k"),
        (PRETRAINING, "pretrain_large_in22k"),
        (PRETRAINING_MUON, "pretrain_cifar10_nano"),
        (FINETUNING, "finetune_base_in1k"),
        (FINETUNING_LARGE, "finetune_large_in1k"),
        (FINETUNED_BEFORE, "finetune_base_in1k_from_ft22k"),
        (PROBE, "linear_probe"),
        (SEGMENTATION, "segment_base_512_ade20k"),
        (SEGMENTATION_FINETUNED_BEFORE, "segment_base_640_ade20k"),
    ],
)
def test_auto_stands_for_the_rates_of_the_published_runs(rate, name):
    job = recipe(FOLDER / f"{name}.yaml")
    assert rate.at(job.train.batch_size) == job.optim.lr


def test_the_schedules_of_the_published_tokenizer_take_as_many_updates():
    job = recipe(FOLDER / "tokenizer_dalle_112.yaml")
    steps, loss = job.train.max_steps, job.loss
    assert (steps, loss.anneal_share * steps) == (3_000_000, 150_000)
    assert loss.kl_ramp_share * steps == pytest.approx(5_000, abs=1)


def test_the_linear_probe_reads_the_published_layer():
    job = recipe(FOLDER / "linear_probe.yaml")
    assert (job.freeze, job.probe.layer, job.pooling, job.mixing.mixup) == ("encoder", 9, "mean", 0)


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_the_recipes_for_one_machine_scale_the_learning_rate_as_they_say(size):
    path = FOLDER / f"pretrain_{size}.yaml"
    job = recipe(path)
    assert job.model.size == size
    assert job.optim.lr == "auto"
    assert PRETRAINING.at(job.train.batch_size) == 1.5e-3 * math.sqrt(job.train.batch_size / 2048) == 7.5e-4
    model = training_flops(model_config(job.model), job.mask.count) / 1e9
    about = " ".join(path.read_text().replace("#", " ").split())
    assert f"the model needs {model:.1f} GFLOP" in about
    pictures = 98_000 * job.train.epochs
    hours = [round(count * cost * 1e9 / 50e12 / 3600, 1)
             for count, cost in ((pictures, model + 52), (800_000, 52), (pictures, model))]  # fmt: skip
    said = re.search(r"exaFLOP, ([\d.]+) hours .* in ([\d.]+) hours, leave ([\d.]+) hours", about)
    assert said is not None
    assert [float(word) for word in said.groups()] == pytest.approx(hours, abs=0.11)


def test_there_are_recipes():
    assert len(RECIPES) >= 3


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_complete_and_its_numbers_fit_together(path):
    job = recipe(path)
    config = model_config(job.model)
    grid = patch_grid(config.image_size, config.patch_size)
    # the paper masks about 40 %; where the encoder sees visible patches only, more
    share = 0.6 if getattr(job, "decoder", None) and job.decoder.layers else 0.4
    assert mask_plan(job.mask, grid).count / grid.patches == pytest.approx(share, abs=0.03)
    assert job.run.output == f"runs/{path.stem}"


# Settings of the published segmentation: rate, layer decay, side, stride, start
SEGMENTED = {
    "base_640_ade20k": (3e-5, 0.9, 640, 426, "microsoft/beit-base-patch16-224-pt22k-ft22k"),
    "base_512_ade20k": (1e-3, 0.65, 512, 341, "microsoft/beit-base-patch16-224-pt22k"),
}


@pytest.mark.parametrize("name", SEGMENTED)
def test_the_published_segmentations_number_by_number(name):
    rate, layer_decay, side, stride, start = SEGMENTED[name]
    job = recipe(FOLDER / f"segment_{name}.yaml")
    optim, scene, train = job.optim, job.scene, job.train
    assert (optim.lr, optim.min_lr, optim.layer_decay, optim.weight_decay) == (rate, 0.0, layer_decay, 0.05)
    assert (optim.decline, optim.warmup_steps, optim.betas) == ("linear", 1500, (0.9, 0.999))
    assert (train.batch_size, train.max_steps) == (16, 160_000)
    assert (scene.scale, scene.shorter_side, scene.one_class, scene.flip, scene.distort) == (
        (0.5, 2.0),
        side,
        0.75,
        0.5,
        True,
    )
    assert (job.model.image_size, job.inference.window, job.inference.stride) == (side, side, stride)
    assert (job.checkpoint, job.auxiliary_weight, job.label_maps.reduce) == (start, 0.4, True)
    assert public_checkpoint(start) is not None


@pytest.mark.parametrize(("name", "count"), [("ade20k", 150), ("cityscapes", 19), ("camvid", 11)])
def test_the_names_of_classes(name, count):
    assert len(read_classes(str(FOLDER / "classes" / f"{name}.txt")).names) == count
