"""Every target and task on tiny models, through the file and back."""

import json
import shutil
import threading

import numpy as np
import pytest
import torch

from beit import BeitForImageClassification, BeitForSemanticSegmentation, preset
from beit.catalog import PACKAGED_SEGMENTER
from beit.image import Preprocessing
from beit.inference.export import job
from beit.inference.exported import is_exported, load_exported
from beit.inference.predictor import Predictor
from beit.inference.runners.runner import Runner
from beit.inference.runners.torch_runner import TorchRunner
from beit.models_torch.scene import SceneInference
from beit.models_torch.sliding_window import Windows
from beit.settings.export import ExportJob
from tests.inference.exports import SEGMENTER, TARGETS, model_of, pixels_of, save_models

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save_models(root)
    return root


@pytest.fixture(scope="module")
def exported(folders, tmp_path_factory):
    """Export a model, once for all tests that ask for the same; what torch traced is used for every target."""
    done, programs, trace = {}, {}, job.trace

    def traced(subject, options):
        key = (
            options.model,
            subject.task,
            options.batch_size,
            options.image_size,
            options.precision == "fp16" and options.to != "openvino",
        )
        if key not in programs:
            programs[key] = trace(subject, options)
        return programs[key]

    def export(kind, to, **options):
        key = (kind, to, *sorted(options.items()))
        if key not in done:
            place = tmp_path_factory.mktemp("exported") / "out"
            settings = {"check": str(folders / "pictures"), **options}
            description = job.export(ExportJob(str(folders / kind), to, str(place), **settings))
            done[key] = description, place
        description, place = done[key]
        return description, place, load_exported(place, threads=1, trust=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "trace", traced)
        yield export


def assert_says_the_same(runner, reference, *shape, tolerance=2e-4):
    pixels = pixels_of(*shape)
    np.testing.assert_allclose(runner(pixels), reference(pixels), atol=tolerance, rtol=tolerance)


CASES = [*((kind, to) for kind in ("classify", "segment", "embed") for to in TARGETS), ("mim", "torch")]


@pytest.mark.parametrize(("kind", "to"), CASES)
def test_every_target_says_what_the_model_says(exported, kind, to):
    description, place, runner = exported(kind, to)
    reference = TorchRunner(model_of(kind), "cpu")
    assert isinstance(runner, Runner)
    assert (runner.task, runner.image_hw) == (reference.task, (32, 32))
    assert description["check"]["pictures"] == 6
    for count in (1, 3):
        assert_says_the_same(runner, reference, count)
    assert is_exported(place)
    written = {path.name for path in place.iterdir()}
    assert written == {*description["sha256"], "README.md", "config.json", "export.json", "preprocessor_config.json"}
    assert [path.name for path in place.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("to", TARGETS)
def test_a_fixed_batch_takes_any_number(exported, to):
    description, _, runner = exported("classify", to, batch_size=2)
    assert description["input"]["shape"] == [2, 3, 32, 32]
    reference = TorchRunner(model_of("classify"), "cpu")
    for count in (1, 2, 5):
        assert_says_the_same(runner, reference, count)


@pytest.mark.parametrize(("kind", "to"), [("classify", "onnx"), ("classify", "openvino"), ("embed", "torch")])
def test_any_size_resamples_positions_as_the_model_does(exported, kind, to):
    _, _, runner = exported(kind, to, image_size="dynamic")
    reference = TorchRunner(model_of(kind), "cpu")
    for height, width in ((32, 32), (64, 40), (16, 48), (40, 40)):
        assert_says_the_same(runner, reference, 2, height, width, tolerance=4e-4)


def test_another_size_resamples_positions_once(folders, exported):
    _, place, runner = exported("classify", "torch", image_size=(48, 32))
    resized = BeitForImageClassification.from_pretrained(folders / "classify", image_size=(48, 32))
    assert_says_the_same(runner, TorchRunner(resized, "cpu"), 2, 48, 32)
    assert runner.image_hw == (48, 32)
    assert Preprocessing.from_pretrained(place).resize == (54, 36)


@pytest.mark.parametrize("kind", ["classify", "segment"])
def test_embeddings_of_a_model_with_a_head(exported, kind):
    _, _, runner = exported(kind, "torch", task="embed")
    assert runner.task == "embed"
    assert_says_the_same(runner, TorchRunner(model_of(kind), "cpu").embed, 3)


@pytest.mark.parametrize("to", TARGETS)
def test_half_the_bytes_in_fp16(exported, to):
    description, place, runner = exported("classify", to, precision="fp16")
    expected = TorchRunner(model_of("classify"), "cpu")(pixels_of(3))
    assert runner(pixels_of(3)).dtype == np.float32
    assert 0 < np.abs(runner(pixels_of(3)) - expected).max() < 0.1
    assert description["check"]["cosine"] > 0.998
    whole = exported("classify", to)[1]
    size, whole_size = (
        sum((folder / name).stat().st_size for name in description["sha256"]) for folder in (place, whole)
    )
    assert size < whole_size


@pytest.mark.parametrize(("kind", "to"), [("classify", "onnx"), ("classify", "openvino")])
def test_int8_with_calibration(folders, exported, kind, to):
    description, _, runner = exported(kind, to, precision="int8", calibration=str(folders / "pictures"), check=None)
    expected = TorchRunner(model_of(kind), "cpu")(pixels_of(3))
    assert runner(pixels_of(3)).shape == expected.shape
    assert description["check"]["cosine"] > 0.98
    assert description["check"]["difference"] > 1e-5  # it is not the float32 model
    assert description["check"]["origin"] == "pictures of pictures"


def test_int8_of_a_segmenter_with_all_its_pools(folders, tmp_path):
    """At the published scales and 14 x 14 patches OpenVINO loads it only if what enlarges maps is left in float32."""
    torch.manual_seed(0)
    options = {**SEGMENTER, "pool_scales": [1, 2, 3, 6], "image_size": 112}
    model = BeitForSemanticSegmentation(preset("tiny", **options, num_labels=3, use_auxiliary_head=False)).eval()
    model.save_pretrained(tmp_path / "model")
    Preprocessing((112, 112), (112, 112)).save_pretrained(tmp_path / "model")
    calibration, (model_at, out) = str(folders / "pictures"), (str(tmp_path / name) for name in ("model", "out"))
    description = job.export(ExportJob(model_at, "openvino", out, precision="int8", calibration=calibration))
    assert description["check"]["cosine"] > 0.98
    expected = TorchRunner(model, "cpu")(pixels_of(1, 112, 112))
    found = load_exported(tmp_path / "out")(pixels_of(1, 112, 112))
    assert found.shape == expected.shape
    assert not np.array_equal(found, expected)


def test_scenes_are_seen_as_by_the_model_wherever_it_lies(folders, tmp_path):
    job.export(ExportJob(PACKAGED_SEGMENTER.name, "torch", str(tmp_path / "packaged")))
    hw = (PACKAGED_SEGMENTER.image_size,) * 2
    own = SceneInference.from_pretrained(PACKAGED_SEGMENTER.name, hw)
    assert SceneInference.from_pretrained(tmp_path / "packaged", hw) == own != SceneInference.published(hw)
    job.export(ExportJob(PACKAGED_SEGMENTER.name, "torch", str(tmp_path / "named"), image_size=hw))
    assert SceneInference.from_pretrained(tmp_path / "named", hw) == own, "its own size, which is named"
    shutil.copytree(folders / "segment", tmp_path / "segment")
    SceneInference(None, 48).save_pretrained(tmp_path / "segment")
    job.export(ExportJob(str(tmp_path / "segment" / "model.safetensors"), "torch", str(tmp_path / "whole")))
    windows = SceneInference.from_pretrained(tmp_path / "whole", (32, 32)).windows
    assert windows == Windows((32, 32), (32, 32))


@pytest.mark.parametrize(("to", "checked_on"), [("onnx", "scenes"), ("torch", None)])
def test_models_of_many_bands(tmp_path, to, checked_on):
    options = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 2, "num_channels": 5, "num_labels": 3}
    model = BeitForImageClassification(preset("tiny", **options))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(tmp_path / "model")
    view = Preprocessing((32, 32), (32, 32), (0.3,) * 5, (0.2,) * 5, value_range=(0, 4000))
    view.save_pretrained(tmp_path / "model")
    (tmp_path / "scenes").mkdir()
    for number in range(3):
        scene = np.random.default_rng(number).integers(0, 5000, (40, 48, 5))
        np.save(tmp_path / "scenes" / f"{number}.npy", scene.astype(np.uint16))
    check = None if checked_on is None else str(tmp_path / checked_on)
    description = job.export(ExportJob(str(tmp_path / "model"), to, str(tmp_path / "out"), check=check))
    assert description["check"]["pictures"] == (3 if checked_on else 32)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "5 channels, values from 0 to 4000 (of 8 bits from 0 to 255) brought to 0 to 1, less the mean" in card
    assert "RGB" not in card
    scenes = sorted((tmp_path / "scenes").iterdir())
    theirs = Predictor.from_pretrained(tmp_path / "model").classify(scenes)
    if to == "onnx":
        ours = Predictor.from_pretrained(tmp_path / "out").classify(scenes)
        for one, other in zip(ours, theirs, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_the_predictor_takes_an_exported_folder(folders, exported):
    pictures = sorted((folders / "pictures").iterdir())
    ours = Predictor.from_pretrained(exported("classify", "openvino")[1]).classify(pictures, batch_size=4)
    theirs = Predictor.from_pretrained(folders / "classify").classify(pictures)
    for one, other in zip(ours, theirs, strict=True):
        assert one.labels == other.labels
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


@pytest.mark.parametrize("to", TARGETS)
def test_threads_share_a_runner(exported, to):
    runner = exported("classify", to)[2]
    batches = [pixels_of(2) * scale for scale in (0.2, 0.5, 1.0, 2.0)]
    expected = [runner(batch) for batch in batches]
    wrong = []

    def work(index):
        for _ in range(20):
            if not np.array_equal(runner(batches[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("problem", "made_to", "output"),
    [
        ("multi_label_classification", "to classify, 3 classes (`config.json`", "each before a sigmoid of its own, ("),
        ("regression", "to predict 3 numbers, in fp32", "`logits`: float32, what it predicts, (pictures, 3)"),
        ("single_label_classification", "to classify, 3 classes (`config.json`", "of the classes before softmax, ("),
    ],
)
def test_the_card_says_what_the_numbers_are(folders, tmp_path, problem, made_to, output):
    shutil.copytree(folders / "classify", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "problem_type": problem}))
    job.export(ExportJob(str(tmp_path / "model"), "torch", str(tmp_path / "out"), check=str(folders / "pictures")))
    card = (tmp_path / "out" / "README.md").read_text()
    assert made_to in card
    assert output in card


def test_the_folder_says_what_it_is(exported, tmp_path):
    description, place, _ = exported("classify", "onnx", opset=18, batch_size=2)
    written = json.loads((place / "export.json").read_text())
    assert written["opset"] == 18
    assert written["check"] == description["check"]
    assert written["source"] == "classify"
    assert str(tmp_path.parent) not in json.dumps(written)
    card = (place / "README.md").read_text()
    for said in ("classify", "fp32", "(2, 3, 32, 32)", "pixel_values", "cosine 1.00000", "model.onnx"):
        assert said in card
