"""What a segmentation model starts from."""

import logging
from types import SimpleNamespace

import pytest
import torch

from beit.engine.schedule import SEGMENTATION, SEGMENTATION_FINETUNED_BEFORE
from beit.errors import ConfigError
from beit.settings.groups import DataSettings
from beit.settings.segment import SegmentJob, TrainingLabelMapSettings
from beit.tasks.segment.model import starting_segmenter
from beit.tasks.segment.task import SegmentTask
from beit.weights import open_checkpoint
from beit.weights.match import LoadReport
from tests.conftest import GOLDEN

DATA = DataSettings("pictures")
MAPS = TrainingLabelMapSettings("maps", "classes.txt")
CLASSES = ["road", "sky", "tree"]
SEGMENTERS = ["hf_v4/segment", "unilm/segment"]  # of 7 classes


def place(name):
    file = GOLDEN / name / "checkpoint.pth"
    return str(file if file.exists() else GOLDEN / name)


def stored(name, tensor):
    return torch.from_numpy(open_checkpoint(place(name)).tensors[tensor].read())


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
