import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from beit import BeitConfig, BeitForImageClassification
from beit.engine.schedule import FINETUNED_BEFORE, FINETUNING, FINETUNING_LARGE, PROBE, SCRATCH
from beit.errors import ConfigError
from beit.geometry import Grid, resize_bias_table
from beit.image.model_view import IMAGENET, checkpoint_statistics
from beit.settings.finetune import FinetuneJob, LoraSettings, MixingSettings, ProbeSettings
from beit.settings.groups import DataSettings, ModelSettings
from beit.settings.inputs import Sources, preprocessing
from beit.tasks.finetune.model import starting_model
from beit.tasks.finetune.task import FinetuneTask
from beit.weights import open_checkpoint
from tests.conftest import GOLDEN

DATA = DataSettings("pictures")
CLASSES = ["ant", "bee", "cat"]
SHARED = ["hf_v4/mim", "hf_v5/mim", "hf_flax/mim_shared", "unilm/pretrain", "unilm/beit2_pretrain"]
OWN = ["hf_v4/classify_single", "hf_v5/classify", "hf_v5/classify_native_names", "hf_flax/classify_mean", "timm/beit",
       "timm/beitv2", "unilm/finetune", "unilm/beit2_finetune", "unilm/segment", "hf_v4/segment"]  # fmt: skip

STILL = ModelSettings(drop_path_rate=0.0, image_mean=(0.5,) * 3, image_std=(0.5,) * 3)


def job(checkpoint, **options):
    place = GOLDEN / checkpoint
    file = place / "checkpoint.pth"
    return FinetuneJob(DATA, checkpoint=str(file if file.exists() else place), **options)


def layer_tables(model):
    return [value for name, value in model.state_dict().items() if name.endswith("bias_table")]


@pytest.mark.parametrize("name", SHARED)
def test_the_shared_bias_becomes_one_per_layer(name):
    tables = {n: e for n, e in open_checkpoint(job(name).checkpoint).tensors.items() if n.endswith("bias_table")}
    assert len(tables) == 1, "the checkpoint has one for all layers"
    expected = torch.from_numpy(next(iter(tables.values())).read())
    model = starting_model(job(name), CLASSES)
    assert model.beit.encoder.relative_position_bias is None
    tables = layer_tables(model)
    assert all(torch.equal(table, expected) for table in tables)
    # copies, not one parameter under several names
    assert len({table.data_ptr() for table in tables}) == model.config.num_hidden_layers


@pytest.mark.parametrize("name", SHARED + OWN)
def test_any_checkpoint_gives_a_classifier_of_the_data(name):
    torch.manual_seed(0)
    model = starting_model(job(name), CLASSES)
    assert model.config.class_names == CLASSES
    assert model.config.label2id == {"ant": 0, "bee": 1, "cat": 2}
    assert model.classifier.weight.shape[0] == 3
    assert 0 < model.classifier.weight.abs().max() <= 0.001 * model.config.initializer_range + 1e-9
    tensors = open_checkpoint(job(name).checkpoint).tensors
    stored = torch.from_numpy(tensors["beit.encoder.layer.1.intermediate.dense.weight"].read())
    assert torch.equal(model.beit.encoder.layer[1].intermediate.dense.weight, stored)
    height, width = model.config.image_hw
    assert model(torch.zeros(2, 3, height, width)).logits.shape == (2, 3)


def test_a_model_for_larger_pictures_has_the_authors_tables():
    before = starting_model(job("hf_v4/mim"), CLASSES)
    side = before.beit.embeddings.grid.height
    pixels = 2 * before.config.image_size
    after = starting_model(job("hf_v4/mim", model=ModelSettings(image_size=pixels)), CLASSES)
    assert after.config.image_size == pixels
    table = layer_tables(before)[0].numpy()
    expected = resize_bias_table(table, Grid(side, side), Grid(2 * side, 2 * side), "cubic")
    assert torch.equal(layer_tables(after)[0], torch.from_numpy(expected))
    other = job("hf_v4/mim", model=ModelSettings(image_size=pixels), bias_resize="bilinear")
    table = layer_tables(starting_model(other, CLASSES))[0]
    assert not torch.equal(table, torch.from_numpy(expected))
    with pytest.raises(ConfigError, match="not a multiple of patch size"):
        starting_model(job("hf_v4/mim", model=ModelSettings(image_size=pixels + 1)), CLASSES)


def test_the_head_goes_on_for_the_same_classes_only():
    name = "hf_v4/classify_single"
    reference = BeitForImageClassification.from_pretrained(GOLDEN / name)
    names, weight = reference.config.class_names, reference.classifier.weight
    others = [f"other {index}" for index in range(len(names))]
    assert torch.equal(starting_model(job(name), names).classifier.weight, weight)
    assert torch.equal(starting_model(job(name, head="keep"), others).classifier.weight, weight)
    for new in (starting_model(job(name), others), starting_model(job(name, head="new"), names)):
        assert new.classifier.weight.abs().max() <= 0.001 * new.config.initializer_range + 1e-9
        assert not new.classifier.bias.any()
    with pytest.raises(ConfigError, match=rf"a head for {len(names)} classes and the data has 3; set head to new"):
        starting_model(job(name, head="keep"), CLASSES)
    with pytest.raises(ConfigError, match="a head for 0 classes"):
        starting_model(job("hf_v4/mim", head="keep"), CLASSES)


@pytest.mark.parametrize("name", ["unilm/pretrain", "hf_v4/mim"])
def test_a_head_on_cls_goes_on_with_the_last_norm_of_pre_training(name):
    model = starting_model(job(name, pooling="cls"), CLASSES)
    tensors = open_checkpoint(job(name).checkpoint).tensors
    assert not model.config.use_mean_pooling
    assert model.beit.pooler.layernorm is None
    assert torch.equal(model.beit.layernorm.weight, torch.from_numpy(tensors["layernorm.weight"].read()))
    assert torch.equal(model.beit.layernorm.bias, torch.from_numpy(tensors["layernorm.bias"].read()))
    assert starting_model(job(name, pooling="mean"), CLASSES).beit.pooler.layernorm is not None


def test_a_probe_reads_a_layer(tmp_path):
    whole = starting_model(job("hf_v4/mim"), CLASSES).eval()
    model = starting_model(job("hf_v4/mim", probe=ProbeSettings(1)), CLASSES).eval()
    height, width = whole.config.image_hw
    pixels = torch.randn(2, 3, height, width)
    hidden = whole(pixels, output_hidden_states=True).hidden_states[1]
    with torch.no_grad():
        assert torch.allclose(model.beit(pixels).pooler_output, model.beit.pooler(hidden), atol=1e-5)
        last = whole.beit(pixels).pooler_output
        assert not torch.allclose(model.beit(pixels).pooler_output, last, atol=1e-2)
    model.save_pretrained(tmp_path)
    again = BeitForImageClassification.from_pretrained(tmp_path)
    assert again.config.num_hidden_layers == 1
    assert torch.equal(again(pixels).logits, model(pixels).logits)
    with pytest.raises(ConfigError, match=r"probe\.layer is 99; expected 1 to"):
        starting_model(job("hf_v4/mim", probe=ProbeSettings(99)), CLASSES)


def adapted(feed_forward=False):
    lora = LoraSettings(rank=2, alpha=6, feed_forward=feed_forward)
    return built(job("hf_v4/mim", model=STILL, lora=lora))


class Labelled:
    """Pictures of three classes, as far as a task looks at them before its first step."""

    classes, labels, label_kind = CLASSES, [0, 1, 2] * 10, "class"

    def __len__(self):
        return len(self.labels)


def built(settings):
    """Return a task with its module, as a run has it before its first step."""
    task = FinetuneTask(settings)
    task.sources, task.world = Sources(Labelled(), Labelled()), 1
    torch.manual_seed(0)
    task.start()
    task.module = task.build()
    return task


@pytest.mark.parametrize("feed_forward", [False, True])
def test_low_rank_adaptation_trains_little_and_saves_an_ordinary_model(tmp_path, feed_forward):
    run = adapted(feed_forward)
    model = run.model.eval()
    pixels = torch.randn(2, 3, *model.config.image_hw)
    torch.manual_seed(0)
    plain = starting_model(job("hf_v4/mim"), CLASSES).eval()
    assert torch.allclose(model(pixels).logits, plain(pixels).logits, atol=1e-8), "it starts as what it adapts"
    layers, width, inner = model.config.num_hidden_layers, model.config.hidden_size, model.config.intermediate_size
    per_layer = 4 * 2 * (width + width) + (2 * 2 * (width + inner) if feed_forward else 0)
    assert model.num_parameters(only_trainable=True) == layers * per_layer + 3 * width + 3
    optimiser = torch.optim.AdamW(run.parameter_groups(), lr=0.1)
    model(pixels).logits.square().sum().backward()
    for _ in range(3):
        optimiser.step()
    assert not torch.allclose(model(pixels).logits, plain(pixels).logits, atol=1e-3)
    run.save(tmp_path)
    saved = BeitForImageClassification.from_pretrained(tmp_path)
    assert saved.load_report.silent
    assert torch.allclose(saved(pixels).logits, model(pixels).logits, atol=1e-5)
    again = adapted(feed_forward)
    again.load(tmp_path)
    assert torch.equal(again.model.eval()(pixels).logits, model(pixels).logits)


def test_the_added_weight_by_hand():
    run = adapted()
    query = run.model.beit.encoder.layer[0].attention.attention.query
    before = query.weight.detach().clone()
    low = query.parametrizations.weight[0]
    with torch.no_grad():
        low.up_OR.fill_(1.0)
    assert torch.allclose(query.weight - before, 6 / 2 * low.down_RI.sum(0).expand_as(before), atol=1e-6)


def test_statistics_are_those_of_the_checkpoint(tmp_path):
    assert checkpoint_statistics("beit_base_patch16_224_pt22k") == ((0.5,) * 3, (0.5,) * 3)
    assert checkpoint_statistics("beitv2_base_patch16_224_pt1k.pth") == IMAGENET
    shutil.copy(GOLDEN / "unilm/beit2_pretrain/checkpoint.pth", tmp_path / "beitv2_base_patch16_224_pt1k.pth")
    assert checkpoint_statistics(str(tmp_path / "beitv2_base_patch16_224_pt1k.pth")) == IMAGENET
    assert checkpoint_statistics(str(GOLDEN / "timm/beit")) == ((0.5,) * 3, (0.5,) * 3)
    unknown = str(GOLDEN / "unilm/pretrain/checkpoint.pth")
    assert checkpoint_statistics(unknown) is None
    with pytest.raises(ConfigError, match=r"has no mean and standard deviation.*set model\.image_mean"):
        preprocessing(ModelSettings(), (32, 32), unknown)
    given = ModelSettings(image_mean=(0.1, 0.2, 0.3), image_std=(1, 1, 1))
    assert preprocessing(given, (32, 32), unknown).mean == (0.1, 0.2, 0.3)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1] * 3, "image_std": [0.2] * 3, "size": 36, "crop_size": 32})
    )
    assert checkpoint_statistics(str(tmp_path)) == ((0.1,) * 3, (0.2,) * 3)


def test_sizes_of_another_model_are_refused():
    with pytest.raises(ConfigError, match=r"has another shape: model.hidden_size is 48, the checkpoint has"):
        starting_model(job("hf_v4/mim", model=ModelSettings(hidden_size=48)), CLASSES)


def test_golden_checkpoints_are_what_these_tests_take_them_for():
    config = BeitConfig.from_pretrained(GOLDEN / "hf_v4/mim")
    assert config.use_shared_relative_position_bias
    assert any("relative_position_bias" in name for name in load_file(GOLDEN / "hf_v4/mim/model.safetensors"))


@pytest.mark.e2e
@pytest.mark.parametrize("adapts", [False, True])
def test_it_compiles_whole(adapts):
    """No graph break, for batches that are mixed and for adapted weights."""
    torch.compiler.reset()
    run = adapted() if adapts else built(mixing())
    pixels = torch.randn(4, 3, *run.model.config.image_hw)
    prepared = run.prepare({"pixel_values": pixels, "labels": torch.arange(4) % 3}, 0)
    compiled = torch.compile(run.module.train(), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(prepared, 0.5)["loss"], run.module(prepared, 0.5)["loss"])


def mixing():
    return job(
        "hf_v4/mim", model=STILL, mixing=MixingSettings(mixup=0.8), label_smoothing=0.1,
        class_weights=(1.0, 1.0, 1.0),
    )  # fmt: skip


def rate(job):
    """The rate that a task chooses once it has its model."""
    task = FinetuneTask(job)
    task._model = starting_model(job, CLASSES)
    return task.rate()


@pytest.mark.parametrize("name", SHARED + OWN)
def test_auto_is_the_rate_for_what_the_checkpoint_was_trained_for(name):
    assert rate(job(name)) == (FINETUNING if name in SHARED else FINETUNED_BEFORE)
    assert rate(job(name, lora=LoraSettings(2))) == FINETUNING
    assert rate(job(name, freeze="encoder")) == PROBE


def test_auto_is_the_rate_for_the_size_and_for_random_weights():
    assert rate(FinetuneJob(DATA, model=ModelSettings(size="tiny"))) == SCRATCH
    task = FinetuneTask(job("hf_v4/mim"))
    task._model = starting_model(task.settings, CLASSES)
    task._model.config.hidden_size = 1024
    assert task.rate() == FINETUNING_LARGE
