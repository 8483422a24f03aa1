"""What a segmentation model starts from."""

import logging
from types import SimpleNamespace

import pytest
import torch

from beit.config import BeitConfig
from beit.engine.schedule import SEGMENTATION, SEGMENTATION_FINETUNED_BEFORE
from beit.errors import ConfigError
from beit.models_torch import BeitForSemanticSegmentation
from beit.settings.groups import DataSettings, TrainSettings
from beit.settings.segment import HardPixelSettings, SegmentJob, TrainingLabelMapSettings
from beit.tasks.segment.loss import SegmentLoss
from beit.tasks.segment.model import check_batch_norms, freeze_unread_layers, starting_segmenter
from beit.tasks.segment.task import SegmentTask
from beit.weights import open_checkpoint
from beit.weights.match import LoadReport
from tests.conftest import GOLDEN, TINY_MODEL

DATA = DataSettings("pictures")
MAPS = TrainingLabelMapSettings("maps", "classes.txt")
CLASSES = ["road", "sky", "tree"]
SEGMENTERS = ["hf_v4/segment", "unilm/segment"]  # of 7 classes


def place(name):
    file = GOLDEN / name / "checkpoint.pth"
    return str(file if file.exists() else GOLDEN / name)


def stored(name, tensor):
    return torch.from_numpy(open_checkpoint(place(name)).tensors[tensor].read())


@pytest.mark.parametrize(
    ("indices", "meaning", "unread"),
    [([1, 2, 3, 4], "huggingface", 2), ([0, 1, 2, 3], "original", 1), ([1, 2, 3, 4], "original", 0)],
)
def test_every_parameter_that_learns_has_a_gradient(indices, meaning, unread):
    sizes = {**TINY_MODEL, "num_hidden_layers": 5, "drop_path_rate": 0.0, "num_labels": 3}
    model = BeitForSemanticSegmentation(BeitConfig(**sizes, out_indices=indices, out_indices_meaning=meaning))
    assert freeze_unread_layers(model) == unread
    pixels = torch.randn(2, 3, *model.config.image_hw)
    SegmentLoss(model)({"pixel_values": pixels, "labels": torch.zeros(2, 8, 8, dtype=torch.long)})["loss"].backward()
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert learning == [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert any(name.startswith(f"beit.encoder.layer.{4 - unread}.") for name in learning)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_the_uper_net_of_other_classes_is_kept_but_for_its_last_layer(name, caplog):
    with caplog.at_level(logging.WARNING, "beit"):
        model = starting_segmenter(SegmentJob(DATA, MAPS, checkpoint=place(name)), CLASSES)
    assert model.config.class_names == CLASSES
    assert model.decode_head.classifier.weight.shape[0] == 3
    assert model.auxiliary_head.classifier.weight.shape[0] == 3
    assert "their last layer is trained anew" in caplog.text
    state = model.state_dict()
    for tensor in ("decode_head.fpn_bottleneck.conv.weight", "decode_head.bottleneck.bn.running_mean"):
        assert torch.equal(state[tensor], stored(name, tensor)), tensor
    layer = "encoder.layer.1.intermediate.dense.weight"
    assert torch.equal(state[f"beit.{layer}"], stored(name, f"beit.{layer}"))


@pytest.mark.parametrize("name", SEGMENTERS)
def test_as_many_other_classes_begin_anew_too(name):
    others = [f"other {number}" for number in range(7)]
    model = starting_segmenter(SegmentJob(DATA, MAPS, checkpoint=place(name)), others)
    weight = model.decode_head.classifier.weight
    assert weight.shape[0] == 7
    assert not torch.equal(weight, stored(name, "decode_head.classifier.weight"))


def test_the_same_classes_go_on():
    names = [f"LABEL_{number}" for number in range(7)]
    model = starting_segmenter(SegmentJob(DATA, MAPS, checkpoint=place("hf_v4/segment")), names)
    expected = stored("hf_v4/segment", "decode_head.classifier.weight")
    assert torch.equal(model.decode_head.classifier.weight, expected)
    assert model.config.out_indices == [2, 3, 4, 6], "its own layers"


@pytest.mark.parametrize(("layers", "indices"), [(None, [1, 2, 3, 5]), ((1, 2, 3, 6), [0, 1, 2, 5])])
def test_a_file_that_does_not_name_its_layers_has_the_published_ones_or_those_that_are_asked_for(layers, indices):
    model = starting_segmenter(SegmentJob(DATA, MAPS, checkpoint=place("unilm/segment"), layers=layers), CLASSES)
    assert model.config.out_indices_meaning == "original"
    assert model.config.out_indices == indices


def test_layers_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match="expected numbers from 1 to 6"):
        starting_segmenter(SegmentJob(DATA, MAPS, checkpoint=place("unilm/segment"), layers=(1, 2, 3, 7)), CLASSES)


@pytest.mark.parametrize(
    ("report", "rate"),
    [
        (LoadReport(missing=["decode_head.classifier.weight"], unexpected=["lm_head.weight"]), SEGMENTATION),
        (
            LoadReport(missing=["decode_head.classifier.weight"], unexpected=["classifier.weight"]),
            SEGMENTATION_FINETUNED_BEFORE,
        ),
        (LoadReport(), SEGMENTATION_FINETUNED_BEFORE),
        (None, SEGMENTATION),
    ],
)
def test_auto_is_the_rate_for_what_the_checkpoint_was_trained_for(report, rate):
    task = SegmentTask(SegmentJob(DATA, MAPS))
    task._model = SimpleNamespace(load_report=report)
    assert task.rate() == rate


def config(**options):
    return BeitConfig(**{**TINY_MODEL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], **options})


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "world", "shared", "fits"),
    [(1, 1, 1, False, False), (4, 4, 1, False, False), (5, 4, 1, False, False), (8, 4, 1, False, True),
     (2, 1, 1, False, True), (2, 1, 2, False, False), (2, 1, 2, True, True), (4, 2, 2, True, True)],
)  # fmt: skip
def test_one_picture_at_a_time(batch_size, accumulate, world, shared, fits):
    train = TrainSettings(batch_size=batch_size, accumulate=accumulate)
    if fits:
        check_batch_norms(train, config(), world, shared)
    else:
        with pytest.raises(ConfigError, match=rf"raise train\.batch_size to {2 * world * accumulate}"):
            check_batch_norms(train, config(), world, shared)


@pytest.mark.parametrize(
    ("options", "fits"),
    [({}, False), ({"pool_scales": [2, 3]}, True), ({"pool_scales": [2], "image_size": 16, "patch_size": 8}, False)],
)
def test_what_is_refused_is_what_torch_cannot_do(options, fits):
    model = BeitForSemanticSegmentation(config(**options)).train()
    side = model.config.image_hw[0]
    train = TrainSettings(batch_size=1)
    if fits:
        model.both_logits(torch.rand(1, 3, side, side))
        check_batch_norms(train, model.config, 1, shared=False)
        return
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model.both_logits(torch.rand(1, 3, side, side))
    with pytest.raises(ConfigError, match="is one picture at a time"):
        check_batch_norms(train, model.config, 1, shared=False)


def test_hard_pixels_of_a_batch_are_shared_by_its_parts():
    settings = SegmentJob(
        DATA, MAPS, train=TrainSettings(batch_size=8, accumulate=4), hard_pixels=HardPixelSettings(0.7, least=1001)
    )
    task = SegmentTask(settings)
    task.accelerator, task.world = SimpleNamespace(num_processes=1, is_main_process=False), 2
    task._model = BeitForSemanticSegmentation(config(num_labels=3))
    assert task.build()._hard.least == 126  # of an eighth of the pictures
