import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from beit import VQKD, BeitForImageClassification, DiscreteVAE, Predictor, VQKDConfig, load_tokenizer, preset
from beit.errors import ConfigError, DataError
from beit.image import BeitImageProcessor, Preprocessing
from beit.inference.runners.torch_runner import TorchRunner
from beit.models_torch.sliding_window import Windows
from tests.conftest import GOLDEN, TINY_MODEL

GRID = (4, 4)


def loaded(folder, **options):
    return Predictor.from_pretrained(folder, device="cpu", **options)


def noise(height=40, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_classes_are_sorted_and_those_of_the_model(classifier, pictures):
    predictor = loaded(classifier)
    paths = sorted(pictures.glob("*/*.png"))
    answers = predictor.classify(paths, top_k=9, batch_size=5)
    assert len(answers) == 12
    for path, answer in zip(paths, answers, strict=True):
        assert sorted(answer.labels) == ["cat", "dog", "eel"]
        assert answer.probabilities == sorted(answer.probabilities, reverse=True)
        pixels = torch.from_numpy(predictor.prepare(path))[None]
        expected = predictor.runner.model(pixels).logits[0].softmax(0).sort(descending=True)
        assert answer.probabilities == pytest.approx(expected.values.tolist(), abs=1e-5)
        assert answer.label == predictor.classes[int(expected.indices[0])]
    content = answers[0].to_json()["predictions"]
    assert [pair["label"] for pair in content] == answers[0].labels
    assert len(predictor.classify(paths[0], top_k=2)[0].labels) == 2


def test_pictures_in_any_form(classifier, pictures):
    predictor = loaded(classifier)
    path = pictures / "cat" / "0.png"
    array = np.asarray(Image.open(path).convert("RGB"))
    forms = [path, str(path), path.read_bytes(), Image.open(path), Image.open(path).convert("RGBA"), array,
             array / 255, array.transpose(2, 0, 1), torch.from_numpy(array.copy())]  # fmt: skip
    answers = predictor.classify(forms)
    for answer in answers[1:]:
        assert answer.labels == answers[0].labels
        assert answer.probabilities == pytest.approx(answers[0].probabilities, abs=2e-3)
    assert predictor.classify(array)[0] == predictor.classify([array])[0], "one alone"
    assert len(predictor.classify(np.stack([array, array]))) == 2, "an array of several"


def test_a_folder_is_its_pictures_by_path(classifier, pictures):
    predictor = loaded(classifier)
    one_by_one = [predictor.classify(path, batch_size=1)[0] for path in sorted(pictures.rglob("*.png"))]
    together = predictor.classify(pictures, batch_size=1)
    assert [answer.probabilities for answer in together] == [answer.probabilities for answer in one_by_one]


@pytest.mark.parametrize("grey", [noise()[..., 0], noise()[..., :1], noise()[..., 0] / 255])
def test_grey_arrays_are_shown_as_the_processor_shows_them(classifier, grey):
    colour = np.dstack([noise()[..., 0]] * 3)
    expected = BeitImageProcessor.from_pretrained(classifier)(colour)["pixel_values"][0]
    assert np.abs(loaded(classifier).prepare(grey) - expected).max() <= 1 / 127 + 1e-6


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("hf_v4/classify_single", {"classify", "embed", "attend"}),
        ("hf_v4/classify_regression", {"embed", "attend"}),
        ("hf_v4/mim", {"embed", "attend"}),
        ("hf_v4/model_cls", {"embed", "attend"}),
        ("hf_v4/backbone_plain", {"embed", "attend"}),
        ("hf_v4/segment", {"segment", "embed", "attend"}),
        ("hf_flax/mim_shared", {"embed", "attend"}),
        ("unilm/finetune/checkpoint.pth", {"classify", "embed", "attend"}),
        ("unilm/pretrain/checkpoint.pth", {"embed", "attend"}),
        ("timm/beit", {"classify", "embed", "attend"}),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_layout_opens_as_what_it_holds(name, tasks, precision, tmp_path, classifier):
    place = GOLDEN / name
    if place.is_dir() and not name.startswith("timm"):  # the recorded folders have no preprocessor
        place = shutil.copytree(place, tmp_path / "model")
        shutil.copy(classifier / "preprocessor_config.json", place)
    predictor = loaded(place, precision=precision)
    assert predictor.tasks == tasks | {"neighbours", "features"}
    picture = noise()
    vector = predictor.embed(picture)[0].vector
    assert vector.shape == (predictor.config.hidden_size,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()
    heads = predictor.config.num_attention_heads
    assert predictor.attend(picture)[0].maps.shape == (heads, *GRID)
    for task in {"classify", "segment", "reconstruct"} - tasks:
        with pytest.raises(ConfigError, match=rf"cannot {task}: .*expected one of: .*embed.*attend"):
            getattr(predictor, task)(picture)


def test_an_embedding_is_what_the_classifier_sees(classifier):
    predictor = loaded(classifier)
    pixels = predictor.prepare(noise())[None]
    (found,) = predictor.embed_pixels(pixels)
    pooled = predictor.runner.model.beit(torch.from_numpy(pixels)).pooler_output[0]
    assert np.allclose(found.vector, pooled.detach().numpy(), atol=1e-6)
    assert found.to_json() == {"embedding": found.vector.tolist()}


def test_half_precision_is_near(classifier):
    whole, half = (loaded(classifier, precision=one).embed(noise())[0].vector for one in ("fp32", "bf16"))
    assert not np.array_equal(whole, half)
    assert np.abs(whole - half).max() < 0.05 * np.abs(whole).max()


def test_scenes_of_any_size(segmenter):
    predictor = loaded(segmenter)
    for hw in ((20, 70), (32, 32), (90, 41)):
        (found,) = predictor.segment(noise(*hw))
        assert found.labels.shape == hw
        assert set(np.unique(found.labels)) <= {0, 1, 2}
        assert sum(found.shares.values()) == pytest.approx(1)
        assert (found.to_json()["height"], found.to_json()["width"]) == hw


class Recorded:
    """A runner that knows one size and nothing else: what an exported file is."""

    task = "segment"

    def __init__(self, runner, config=None):
        self._runner, self.config = runner, config or runner.config
        self.image_hw = self.config.image_hw

    def __call__(self, pixels_BCHW):
        assert pixels_BCHW.shape[2:] == self.image_hw
        return self._runner(pixels_BCHW)


@pytest.mark.parametrize("hw", [(40, 60), (32, 32), (200, 33)])
def test_a_runner_of_one_size_segments_as_the_model_does(segmenter, hw):
    torch_one = loaded(segmenter)
    exported = Predictor(Recorded(torch_one.runner), torch_one.preprocessing, torch_one.scene)
    assert exported.tasks == {"segment"}
    picture = noise(*hw)
    assert np.array_equal(exported.segment(picture)[0].labels, torch_one.segment(picture)[0].labels)
    with pytest.raises(ConfigError, match="cannot attend: expected one of: segment"):
        exported.attend(picture)
    other = dataclasses.replace(torch_one.preprocessing, image_hw=(48, 48))
    with pytest.raises(ConfigError, match="expected the same size: export it again"):
        Predictor(Recorded(torch_one.runner), other, torch_one.scene)


def bright(pixels_BCHW):
    """Scores of two classes, dark and bright, of every patch of 8 x 8 pixels."""
    means_Byx = pixels_BCHW.reshape(len(pixels_BCHW), 3, 4, 8, 4, 8).mean(axis=(1, 3, 5))
    return np.stack((-means_Byx, means_Byx), axis=1)


def test_a_runner_of_one_size_sees_whole_pictures_in_windows(segmenter):
    torch_one = loaded(segmenter)
    runner, view = Recorded(bright, torch_one.config), torch_one.preprocessing
    picture = np.zeros((96, 64, 3), np.uint8)
    picture[64:] = 255
    whole = Predictor(runner, view, dataclasses.replace(torch_one.scene, windows=None, shorter_side=None))
    assert np.array_equal(whole.segment(picture)[0].labels, picture[..., 0] == 255)
    with pytest.raises(ConfigError, match="windows of 48 x 32 pixels, and is exported for 32 x 32; expected windows"):
        Predictor(runner, view, dataclasses.replace(torch_one.scene, windows=Windows((48, 32), (8, 8))))


def test_attention_is_that_of_the_layer_and_the_patch(classifier):
    predictor = loaded(classifier)
    picture = noise()
    maps = predictor.runner.model.beit(
        torch.from_numpy(predictor.prepare(picture))[None], output_attentions=True
    ).attentions[0][0]
    (of_cls,) = predictor.attend(picture, layer=0)
    assert np.allclose(of_cls.maps.reshape(4, 16), maps[:, 0, 1:].detach(), atol=1e-6)
    (of_patch,) = predictor.attend(picture, layer=-2, patch=(1, 2))
    assert np.allclose(of_patch.maps.reshape(4, 16), maps[:, 1 + 1 * 4 + 2, 1:].detach(), atol=1e-6)
    assert (of_cls.maps.sum(axis=(1, 2)) < 1).all()
    content = of_patch.to_json()
    assert (content["rows"], content["cols"], content["patch"]) == (4, 4, [1, 2])
    assert np.shape(content["maps"]) == (4, 16)
    bright = dataclasses.replace(of_cls, maps=np.eye(16, dtype=np.float32)[5].reshape(1, 4, 4))
    grey = np.asarray(bright.overlay(0).convert("L"), dtype=float) - 0.4 * np.asarray(of_cls.picture.convert("L"))
    assert np.unravel_index(grey.argmax(), grey.shape)[0] // 8 == 1, "the brightest place is the patch looked at"
    with pytest.raises(ConfigError, match=r"head is 4; expected 0 to 3"):
        of_cls.overlay(4)


def test_hidden_patches_are_painted_by_the_model(pretrained, tokenizer):
    predictor = loaded(pretrained, tokenizer=tokenizer)
    assert predictor.tasks == {"embed", "neighbours", "attend", "features", "reconstruct"}
    picture = noise()
    (found,) = predictor.reconstruct(picture, share=0.5, seed=3)
    assert found.mask.shape == GRID
    assert 1 <= found.mask.sum() <= 8
    (again,) = predictor.reconstruct([picture], share=0.5, seed=3)
    assert np.array_equal(again.mask, found.mask)
    assert again.reconstruction == found.reconstruction
    seen, masked = np.asarray(found.picture), np.asarray(found.masked)
    assert seen.shape == masked.shape == np.asarray(found.reconstruction).shape == (32, 32, 3)
    hidden = found.mask.repeat(8, 0).repeat(8, 1)
    assert (masked[hidden] == 128).all()
    assert np.array_equal(masked[~hidden], seen[~hidden])
    content = found.to_json()
    assert content["mask"] == np.argwhere(found.mask).tolist()
    assert (content["rows"], content["cols"]) == GRID


def test_without_hidden_patches_the_tokenizer_alone_paints(pretrained, tokenizer):
    """A mask of nothing leaves the tokenizer's own round trip, whatever the model is."""
    nothing = np.zeros(GRID, dtype=bool)
    (found,) = loaded(pretrained, tokenizer=tokenizer).reconstruct(noise(), mask=nothing)
    torch.manual_seed(9)
    predictor = loaded(pretrained, tokenizer=load_tokenizer(tokenizer))
    torch.nn.init.normal_(predictor.runner.model.lm_head.weight)
    (other,) = predictor.reconstruct(noise(), mask=nothing)
    assert other.reconstruction == found.reconstruction
    everything = predictor.reconstruct(noise(), mask=~nothing)[0]
    assert everything.reconstruction != found.reconstruction


@pytest.mark.parametrize(("task", "command"), [("classify", "beit finetune"), ("segment", "beit segment")])
def test_a_model_without_classes_says_how_to_get_them(pretrained, task, command):
    predictor = loaded(pretrained)
    assert predictor.classes == []
    with pytest.raises(ConfigError) as caught:
        getattr(predictor, task)(noise())
    remedy = f"it has no classes yet; fine-tune it ({command} --checkpoint MODEL) or choose another --task"
    assert (
        str(caught.value) == f"this model cannot {task}: {remedy}; expected one of: embed, neighbours, attend, features"
    )


@pytest.mark.parametrize("problem", [None, "regression"])
def test_a_model_of_one_number_has_no_classes(tmp_path, problem):
    model = BeitForImageClassification(preset("tiny", **TINY_MODEL, num_labels=1, problem_type=problem))
    predictor = Predictor(TorchRunner(model), Preprocessing((32, 32), (36, 36)))
    with pytest.raises(ConfigError, match="it gives numbers, not classes"):
        predictor.classify(noise())


def test_tokenizers_that_do_not_fit(classifier, pretrained, tokenizer, tmp_path):
    with pytest.raises(ConfigError, match="the model is a BeitForImageClassification; expected a pre-training model"):
        loaded(classifier, tokenizer=tokenizer)
    other = load_tokenizer(tokenizer).config
    with pytest.raises(ConfigError, match="the tokenizer has 32 visual tokens, the model predicts 64"):
        loaded(pretrained, tokenizer=DiscreteVAE(dataclasses.replace(other, vocab_size=32)))
    blind = VQKD(
        VQKDConfig(vocab_size=64, code_size=8, image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=1,
                   num_attention_heads=4, intermediate_size=64, decoder_layers=1, teacher_size=16)
    )  # fmt: skip
    with pytest.raises(ConfigError, match="a VQKD that paints no pixels; expected one with a decoder"):
        loaded(pretrained, tokenizer=blind)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: p.reconstruct(noise(), mask=np.zeros((3, 4), bool)), r"shape \(3, 4\); expected \(4, 4\)"),
        (lambda p: p.reconstruct(noise(), mask=np.zeros(GRID)), "the mask is of float64; expected bool"),
        (lambda p: p.ask("reconstruct", noise(), mask=[[0.5, 1]]), r"a place of mask is \[0\.5, 1\]; expected two"),
        (lambda p: p.ask("reconstruct", noise(), mask=np.ones(GRID, bool)), r"a place of mask is \[.*; expected two"),
        (lambda p: p.reconstruct(noise(), share=0), "share is 0; expected a number above 0"),
        (lambda p: p.reconstruct(noise(), seed=-1), "seed is -1; expected at least 0"),
        (lambda p: p.attend(noise(), layer=2), r"layer is 2; expected 0 to 1"),
        (lambda p: p.attend(noise(), patch=(0, 4)), r"patch is \(0, 4\); expected a row of 0 to 3"),
        (lambda p: p.attend(noise(), patch=(1.5, 2)), r"patch is \(1\.5, 2\); expected two whole numbers, a row and"),
        (lambda p: p.features(noise(), patch=3), "patch is 3; expected two whole numbers, a row and a column"),
        (lambda p: p.embed(noise(), batch_size=0), "batch_size is 0; expected a whole number, at least 1"),
        (lambda p: p.embed(noise(), batch_size=2.5), r"batch_size is 2\.5; expected a whole number, at least 1"),
        (lambda p: p.embed(3), "got a int as a picture; expected a Pillow image"),
    ],
)
def test_wrong_questions(pretrained, tokenizer, ask, message):
    with pytest.raises(ConfigError, match=message):
        ask(loaded(pretrained, tokenizer=tokenizer))


def test_a_patch_may_be_numbers_of_numpy(pretrained):
    predictor = loaded(pretrained)
    for ask in (predictor.attend, predictor.features):
        assert json.loads(json.dumps(ask(noise(), patch=np.array([1, 2]))[0].to_json()))["patch"] == [1, 2]


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (noise() * 2.0, "from 0 to 510; resizing needs whole numbers in 0..255"),
        (noise() - 0.5, "resizing needs whole numbers"),
        (np.full((9, 9, 3), np.nan), "NaN"),
        (np.zeros((9, 9, 4), np.uint8), "channels neither first nor last"),
        (np.zeros((0, 9, 3), np.uint8), "at least one pixel"),
        (b"no picture", "is not a picture that can be read; use PNG, JPEG, WebP"),
    ],
)
def test_broken_pictures(classifier, picture, message):
    predictor = loaded(classifier)
    with pytest.raises(DataError, match=message):
        predictor.classify(picture)
    with pytest.raises(DataError, match=rf"pictures\[1\]: .*{message}"):
        predictor.classify([noise(), picture])


def test_what_is_missing(classifier, tmp_path):
    predictor = loaded(classifier)
    with pytest.raises(ConfigError, match="top_k is 0; expected at least 1"):
        predictor.classify(noise(), top_k=0)
    with pytest.raises(DataError, match="does not exist"):
        predictor.classify([tmp_path / "absent.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there are no pictures in"):
        predictor.classify(tmp_path / "empty")
    assert predictor.classify([]) == []
    for precision, message in (
        ("int8", "precision is 'int8'; expected one of auto, fp32"),
        ("fp16", "expected fp32 or bf16"),
    ):
        with pytest.raises(ConfigError, match=message):
            loaded(classifier, precision=precision)
    bare = shutil.copytree(classifier, tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"preprocessor_config.json does not exist"):
        loaded(bare)
    config = json.loads((classifier / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**config, "architectures": ["BeitForDreams"]}))
    with pytest.raises(Exception, match="BeitForDreams"):
        loaded(bare)


def test_a_file_of_weights_says_how_it_is_shown_pictures(caplog):
    predictor = loaded(GOLDEN / "unilm/finetune/checkpoint.pth")
    assert predictor.preprocessing.mean == (0.5, 0.5, 0.5)
    assert "nothing says how it is shown pictures" in caplog.text
