"""Loading and saving of Flax models in every layout: reports and errors."""

import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import beit
from beit import (
    BeitForMaskedImageModeling,
    FlaxBeitForImageClassification,
    FlaxBeitForMaskedImageModeling,
    FlaxBeitForSemanticSegmentation,
    FlaxBeitModel,
    preset,
)
from beit.errors import CheckpointError, ConfigError
from beit.models_flax.tree import joined
from beit.models_torch.conversion import WRITERS, convert
from beit.weights import open_checkpoint
from tests.conftest import GOLDEN, TINY_MODEL
from tests.parity.cases import CASES, recorded, unilm_config

pytestmark = pytest.mark.e2e  # compiled, or of every model

CLASSIFIER = GOLDEN / "hf_v4/classify_single"
FLAX_CLASSIFIER = GOLDEN / "hf_flax/classify_mean"


def equal(one, other):
    one, other = (joined(getattr(model, "params", model)) for model in (one, other))
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]) for name in one
    )


@pytest.fixture(scope="module")
def classifier():
    return FlaxBeitForImageClassification.from_pretrained(CLASSIFIER)


@pytest.mark.parity
@pytest.mark.parametrize("name", [name for name in CASES if "resize" not in name])
def test_every_recorded_case(name, tmp_path):
    """From its own layout to Flax, to both kinds of files, and on to PyTorch: bit by bit what PyTorch reads at once."""
    case = recorded(name)
    kind = getattr(beit, "Flax" + type(case.model).__name__)
    if case.family == "unilm":
        ours = kind.from_pretrained(case.folder / case.case["checkpoint"], config=unilm_config(case.case))
    else:
        ours = kind.from_pretrained(case.folder)
    assert ours.load_report == case.model.load_report
    reference = case.model.state_dict()
    for number, safe in enumerate((False, True)):
        folder = tmp_path / str(number)
        ours.save_pretrained(folder, safe_serialization=safe)
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.json",
            "model.safetensors" if safe else "flax_model.msgpack",
        ]
        assert equal(kind.from_pretrained(folder), ours)
        back = type(case.model).from_pretrained(folder).state_dict()
        assert back.keys() == reference.keys()
        assert all(torch.equal(back[key], reference[key]) for key in reference)


@pytest.mark.parametrize("to", WRITERS)
def test_every_layout_that_is_written(classifier, to, tmp_path):
    destination = tmp_path / ("there.pth" if to == "unilm" else "there")
    convert(CLASSIFIER, destination, to)
    assert equal(FlaxBeitForImageClassification.from_pretrained(destination, config=classifier.config), classifier)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_single_file(classifier, file):
    assert equal(FlaxBeitForImageClassification.from_pretrained(CLASSIFIER / file), classifier)


def test_what_is_saved_is_what_transformers_wrote(tmp_path):
    """Same names, same bytes, and the same config but for what is newer."""
    model = FlaxBeitForImageClassification.from_pretrained(CLASSIFIER)
    model.save_pretrained(tmp_path, safe_serialization=True)
    ours, reference = (load_file(folder / "model.safetensors") for folder in (tmp_path, CLASSIFIER))
    assert ours.keys() == reference.keys()
    assert all(np.array_equal(ours[name], reference[name]) for name in reference)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["BeitForImageClassification"]
    assert config["torch_dtype"] == "float32"


def test_flax_reads_our_files(tmp_path):
    """What flax.serialization itself makes of them."""
    from flax.serialization import msgpack_restore

    model = FlaxBeitForImageClassification.from_pretrained(FLAX_CLASSIFIER)
    half = model.to_bf16(model.params)
    for params in (model.params, half):
        model.save_pretrained(tmp_path, params)
        restored = msgpack_restore((tmp_path / "flax_model.msgpack").read_bytes())
        assert equal(restored, params)


def test_a_folder_with_both_kinds(classifier, tmp_path):
    """Flax's own file first; `from_pt` asks for the other."""
    shutil.copytree(CLASSIFIER, tmp_path, dirs_exist_ok=True)
    changed = jax.tree.map(lambda leaf: leaf + 1, classifier.params)
    classifier.save_pretrained(tmp_path, changed)
    assert equal(FlaxBeitForImageClassification.from_pretrained(tmp_path).params, changed)
    assert equal(FlaxBeitForImageClassification.from_pretrained(tmp_path, from_pt=True), classifier)
    assert equal(FlaxBeitForImageClassification.from_pretrained(tmp_path, use_safetensors=True), classifier)
    assert equal(FlaxBeitForImageClassification.from_pretrained(FLAX_CLASSIFIER, from_pt=False).params,
                 FlaxBeitForImageClassification.from_pretrained(FLAX_CLASSIFIER).params)  # fmt: skip


def test_a_variant_is_the_file_of_that_name(classifier, tmp_path):
    for variant, seed in ((None, 0), ("fp16", 1)):
        torch.manual_seed(seed)
        model = beit.BeitForImageClassification(classifier.config)
        model.save_pretrained(tmp_path, variant=variant)
        torch.save(model.half().state_dict(), tmp_path / "pytorch_model.bin")
    for options in ({"variant": "fp16"}, {"variant": "fp16", "use_safetensors": True}):
        loaded = FlaxBeitForImageClassification.from_pretrained(tmp_path, **options)
        assert np.array_equal(joined(loaded.params)["classifier.kernel"],
                              beit.BeitForImageClassification.from_pretrained(tmp_path, variant="fp16")
                              .classifier.weight.detach().numpy().T)  # fmt: skip
    pickled = FlaxBeitForImageClassification.from_pretrained(tmp_path, use_safetensors=False)
    assert joined(pickled.params)["classifier.kernel"].dtype == jnp.float16
    with pytest.raises(CheckpointError, match=r"expected one of \['flax_model.bf16.msgpack', 'model.bf16.safetensors'"):
        FlaxBeitForImageClassification.from_pretrained(tmp_path, variant="bf16")


def test_a_head_of_another_size_is_new_where_that_is_asked_for(classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    others = {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
    (tmp_path / "config.json").write_text(json.dumps(config | others))
    with pytest.raises(CheckpointError, match=r"classifier.bias is"):
        FlaxBeitForImageClassification.from_pretrained(tmp_path)
    loaded = FlaxBeitForImageClassification.from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    assert loaded.load_report.new == ["classifier.bias", "classifier.weight"]


def test_what_an_earlier_save_left_is_named(classifier, tmp_path):
    """Weights for PyTorch beside an older file of Flax, which Flax would go on reading."""
    classifier.save_pretrained(tmp_path)
    changed = jax.tree.map(lambda leaf: leaf + 1, classifier.params)
    with pytest.warns(UserWarning, match=r"holds flax_model.msgpack of an earlier save .*use_safetensors=True"):
        classifier.save_pretrained(tmp_path, changed, safe_serialization=True)
    assert equal(FlaxBeitForImageClassification.from_pretrained(tmp_path, use_safetensors=True), changed)


def test_without_parameters_of_its_own(classifier):
    model, params = FlaxBeitForImageClassification.from_pretrained(CLASSIFIER, _do_init=False)
    assert equal(params, classifier)
    with pytest.raises(ConfigError, match="holds no params"):
        model(np.zeros((1, 3, 32, 32), np.float32))


def test_types(tmp_path):
    torch.manual_seed(0)
    half = BeitForMaskedImageModeling(preset("tiny", **TINY_MODEL, layer_norm_eps=1e-6)).bfloat16()
    half.save_pretrained(tmp_path)
    kept = FlaxBeitForMaskedImageModeling.from_pretrained(tmp_path, jnp.bfloat16)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(kept.params)} == {"bfloat16"}
    wide = FlaxBeitForMaskedImageModeling.from_pretrained(tmp_path, param_dtype="float32")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(wide.params)} == {"float32"}
    assert equal(wide.to_bf16(wide.params), kept)
    for number, safe in enumerate((False, True)):
        kept.save_pretrained(tmp_path / str(number), safe_serialization=safe)
        back = BeitForMaskedImageModeling.from_pretrained(tmp_path / str(number), dtype="auto").state_dict()
        assert all(torch.equal(back[name], values) for name, values in half.state_dict().items())
    with pytest.raises(ConfigError, match="dtype is 'float7'"):
        FlaxBeitForMaskedImageModeling.from_pretrained(tmp_path, dtype="float7")
    with pytest.raises(ConfigError, match="use dtype, param_dtype"):
        FlaxBeitForMaskedImageModeling.from_pretrained(tmp_path, torch_dtype="float16")


def test_batches_are_counted_in_whole_numbers(tmp_path):
    """In files; among the parameters the count is a float, which `jax.grad` accepts, and no cast rounds it."""
    folder = shutil.copytree(GOLDEN / "hf_v4/segment", tmp_path / "there")
    torch_model = beit.BeitForSemanticSegmentation.from_pretrained(folder)
    counts = [buffer for name, buffer in torch_model.named_buffers() if name.endswith("num_batches_tracked")]
    for buffer in counts:
        buffer.fill_(160_001)
    torch_model.save_pretrained(folder)
    model = FlaxBeitForSemanticSegmentation.from_pretrained(folder)
    model.save_pretrained(tmp_path / "half", model.to_bf16(model.params), safe_serialization=True)
    for source in (folder, tmp_path / "half"):
        tensors = open_checkpoint(source).tensors
        found = [entry.read() for name, entry in tensors.items() if name.endswith("num_batches_tracked")]
        assert len(found) == len(counts) > 10
        assert {(value.dtype.name, int(value)) for value in found} == {("int64", 160_001)}


def test_a_new_head_is_announced(caplog):
    with caplog.at_level(logging.WARNING, logger="beit"):
        model = FlaxBeitForImageClassification.from_pretrained(CLASSIFIER, num_labels=11)
    assert "new, not from the checkpoint: classifier.bias, classifier.weight" in caplog.text
    assert model.params["classifier"]["kernel"].shape == (32, 11)
    assert abs(model.params["classifier"]["kernel"]).max() <= 0.02 * 0.001 + 1e-9
    assert model.load_report.new == ["classifier.bias", "classifier.weight"]


def test_a_checkpoint_of_another_task():
    model = FlaxBeitModel.from_pretrained(CLASSIFIER)
    assert model.load_report.unexpected == ["head:classifier.bias", "head:classifier.weight"]
    pretrained = FlaxBeitForImageClassification.from_pretrained(GOLDEN / "hf_v4/mim", use_relative_position_bias=True,
                                                                use_shared_relative_position_bias=False)  # fmt: skip
    assert "copied into every layer" in str(pretrained.load_report)
    assert "beit.pooler.layernorm.weight" in pretrained.load_report.new


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"it holds .* layers, its config has 3"):
        FlaxBeitForImageClassification.from_pretrained(CLASSIFIER, num_hidden_layers=3)
    with pytest.raises(ConfigError, match="did you mean num_labels"):
        FlaxBeitForImageClassification.from_pretrained(CLASSIFIER, num_label=3)
    with pytest.raises(CheckpointError, match="does not exist"):
        FlaxBeitForImageClassification.from_pretrained(tmp_path / "nothing")
    for bad in sorted((GOLDEN / "bad").iterdir()):
        with pytest.raises((CheckpointError, ConfigError)):
            FlaxBeitForImageClassification.from_pretrained(bad)


@pytest.mark.parametrize("method", ["cubic", "linear", "bilinear"])
def test_another_image_size_at_loading(method):
    options = {"image_size": 48, "bias_resize": method}
    ours = FlaxBeitForImageClassification.from_pretrained(CLASSIFIER, **options)
    theirs = beit.BeitForImageClassification.from_pretrained(CLASSIFIER, **options)
    assert ours.load_report == theirs.load_report
    table = ours.params["beit"]["encoder"]["layer"]["1"]["attention"]["attention"]["relative_position_bias"]
    np.testing.assert_array_equal(
        table["relative_position_bias_table"],
        theirs.state_dict()[
            "beit.encoder.layer.1.attention.attention.relative_position_bias.relative_position_bias_table"
        ].numpy(),
    )


def test_saving_refuses_what_it_does_not_know(classifier, tmp_path):
    with pytest.raises(ConfigError, match=r"save_pretrained does not know \['shards'\]"):
        classifier.save_pretrained(tmp_path, shards=3)
    with pytest.raises(CheckpointError, match="params does not fit the model"):
        classifier.save_pretrained(tmp_path, {"beit": {}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("safe", [True, False])
def test_a_head_for_other_classes_than_the_config_says_is_not_saved(tmp_path, safe):
    model = FlaxBeitForImageClassification.from_pretrained(CLASSIFIER)
    model.config.num_labels = 7
    with pytest.raises(ConfigError, match=r"classifier is for \d+ classes and config.num_labels is 7"):
        model.save_pretrained(tmp_path, safe_serialization=safe)
    assert list(tmp_path.iterdir()) == []
