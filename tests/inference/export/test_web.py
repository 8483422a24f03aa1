"""The folder of a page: what it holds, what its page lacks, and when none is written. Browsers: tests/e2e."""

import gzip
import json
import re
import shutil

import onnxruntime
import pytest

from beit import BeitConfig, BeitForSemanticSegmentation, BeitModel, Predictor, preset
from beit.errors import CheckpointError, ConfigError
from beit.geometry import Grid
from beit.image import Preprocessing
from beit.inference.export import check, export
from beit.inference.export import job as job_file
from beit.inference.export.examples import Examples
from beit.inference.export.web_check import check_tokenizer
from beit.inference.export.web_model import write_tokenizer
from beit.inference.export.web_page import write_page
from beit.inference.page import BROWSER, FOLDER, RUNTIME
from beit.models_torch.scene import SceneInference
from beit.models_torch.sliding_window import Windows
from beit.settings.export import ExportJob
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, load_tokenizer
from tests.conftest import TINY_MODEL
from tests.inference.exports import save_models


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save_models(root)
    DiscreteVAE(DiscreteVAEConfig(64, 8, 1, 2, 8)).save_pretrained(root / "tokenizer")
    return root


def job(folders, kind, output, **options):
    return ExportJob(str(folders / kind), "web", str(output), check=str(folders / "pictures"), **options)


@pytest.fixture(scope="module")
def page(folders, tmp_path_factory):
    place = tmp_path_factory.mktemp("exported") / "page"
    return export(job(folders, "classify", place)), place


@pytest.mark.e2e
def test_the_folder_holds_all_that_the_page_needs(page):
    written, place = page
    described = json.loads((place / "page.json").read_text())
    assert described == written["page"]
    assert [task["name"] for task in described["tasks"]] == ["classify", "attend", "features"]
    assert {path.name for path in place.iterdir()} == {
        "README.md",
        "index.html",
        "model",
        "page",
        "page.json",
        "runtime",
    }
    parts = {path.name for folder in (FOLDER, BROWSER) for path in folder.iterdir()} - {"index.html"}
    assert {path.name for path in (place / "page").iterdir()} == parts
    assert [path.name for path in place.parent.iterdir()] == ["page"]
    for model in described["models"]:
        file = place / model["file"]["path"]
        assert file.stat().st_size == model["file"]["bytes"]
        session = onnxruntime.InferenceSession(file)
        assert [output.name for output in session.get_outputs()] == ["logits", "attention", "hidden"]
    assert [model["classes"] for model in described["models"]] == [["cat", "dog", "eel"]] * 2
    assert described["runtime"]["bytes"] == (place / "runtime" / "ort.wasm.gz").stat().st_size
    assert gzip.decompress((place / "runtime" / "ort.wasm.gz").read_bytes())[:4] == b"\0asm"


@pytest.mark.e2e
def test_what_is_left_out_is_said(page, folders, tmp_path):
    written, place = page
    assert "predicts no visual tokens" in written["without"]["reconstruct"]
    assert "- reconstruct: the model predicts no visual tokens" in (place / "README.md").read_text()
    written = export(job(folders, "mim", tmp_path / "page"))
    assert "has no classes; fine-tune it" in written["without"]["classify"]
    assert "name the one it was pre-trained with (--tokenizer)" in written["without"]["reconstruct"]


@pytest.mark.e2e
def test_a_segmenter_sees_scenes_as_the_predictor_shows_them(folders, tmp_path):
    written = export(job(folders, "segment", tmp_path / "page"))["page"]
    assert [task["name"] for task in written["tasks"]] == ["segment", "attend", "features"]
    assert written["scene"] == {
        "windows": {"height": 32, "width": 32, "down": 21, "across": 21},
        "shorter_side": 32,
        "scales": [1.0],
        "flip": False,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "colours": ["#800000", "#008000", "#808000"],
    }
    larger = export(job(folders, "segment", tmp_path / "larger", image_size=48))["page"]
    assert (larger["scene"]["windows"]["down"], larger["scene"]["shorter_side"]) == (32, 48)


def test_scenes_that_a_page_cannot_show_are_refused(folders, tmp_path):
    place = tmp_path / "segment"
    shutil.copytree(folders / "segment", place)
    SceneInference(Windows((48, 32), (8, 8))).save_pretrained(place)
    with pytest.raises(ConfigError, match="windows of 48 x 32 pixels, and is exported for 32 x 32"):
        export(ExportJob(str(place), "web", str(tmp_path / "page")))
    config = json.loads((place / "config.json").read_text())
    many = {str(number): f"class {number}" for number in range(256)}
    options = {**config, "id2label": many, "label2id": {name: int(number) for number, name in many.items()}}
    BeitForSemanticSegmentation(BeitConfig.from_dict(options)).save_pretrained(place)
    with pytest.raises(ConfigError, match="256 classes of pixels for web; expected at most 255"):
        export(ExportJob(str(place), "web", str(tmp_path / "page")))
    assert [path.name for path in tmp_path.iterdir()] == ["segment"]


@pytest.mark.e2e
def test_a_tokenizer_without_a_network_is_exported_too(tmp_path):
    tokenizer = load_tokenizer("beit/nano-cifar10-tokens")
    examples = Examples.of(None, 4)
    write_tokenizer(tokenizer, Grid(8, 8), 20, tmp_path)
    check_tokenizer(tokenizer, Grid(8, 8), examples, tmp_path)
    tokenizer.patches.copy_(1 - tokenizer.patches)
    with pytest.raises(CheckpointError, match="paints other pixels"):
        check_tokenizer(tokenizer, Grid(8, 8), examples, tmp_path)


@pytest.mark.e2e
def test_int8_that_loses_too_much_is_left_out(folders, tmp_path, monkeypatch):
    monkeypatch.setitem(check.LIMITS, "int8", check.Limits(1e-9, 0.98, 0.95))
    written = export(job(folders, "embed", tmp_path / "page"))
    assert written["without"]["int8"].startswith("the outputs of the exported file differ from the model's")
    assert [path.name for path in (tmp_path / "page" / "model").iterdir()] == ["fp32.onnx"]
    assert len(written["page"]["models"]) == 1


@pytest.mark.e2e
def test_a_model_that_is_not_given_exactly_leaves_nothing(folders, tmp_path, monkeypatch):
    monkeypatch.setitem(check.LIMITS, "fp32", check.Limits(0.0, 0.9999, 0.99))
    with pytest.raises(CheckpointError, match="nothing was written"):
        export(job(folders, "embed", tmp_path / "page"))
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_does_not_fit_is_refused(folders, tmp_path):
    for kind in ("classify", "embed"):
        with pytest.raises(ConfigError, match="expected a pre-training model"):
            export(job(folders, kind, tmp_path / "page", tokenizer=str(folders / "tokenizer")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_a_model_with_a_decoder_has_a_page_without_reconstruct_whatever_is_given(tmp_path):
    job = ExportJob("beit/nano-cifar10", "web", str(tmp_path / "page"), tokenizer="beit/nano-cifar10-tokens")
    written = export(job)
    assert written["without"]["reconstruct"].startswith("the model predicts masked patches by a decoder")
    assert "reconstruct" not in [task["name"] for task in written["page"]["tasks"]]
    assert written["page"]["tokenizer"] is None


@pytest.mark.parametrize(
    ("channels", "resample", "said"),
    [(3, 0, r"resample is 0 \(nearest\) for web"), (5, 3, "pictures of 5 channels, and browsers read pictures of 3")],
)
def test_pictures_that_a_browser_would_show_otherwise_are_refused(tmp_path, monkeypatch, channels, resample, said):
    monkeypatch.setattr(job_file, "load_export_model", lambda _: pytest.fail("loaded, which may take minutes"))
    BeitModel(preset("tiny", **TINY_MODEL, num_channels=channels)).save_pretrained(tmp_path / "model")
    view = Preprocessing((32, 32), (36, 36), (0.5,) * channels, (0.5,) * channels, resample)
    view.save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match=said):
        export(ExportJob(str(tmp_path / "model"), "web", str(tmp_path / "page")))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_page_forbids_itself_what_is_elsewhere_and_shows_titles_as_text(tmp_path):
    write_page(tmp_path / "page", '<script>"a"&b')
    text = (tmp_path / "page" / "index.html").read_text()
    assert "<title>&lt;script&gt;&quot;a&quot;&amp;b - beit</title>" in text
    assert 'data-answers="browser"' in text
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert not re.search(r"(?:src|href)=\"(?:/|https?:)", text)  # it lies at any address
    assert (tmp_path / "page" / "runtime" / "ort.js").read_bytes() == (RUNTIME / "ort.js").read_bytes()


@pytest.mark.e2e
def test_a_page_is_no_model(page):
    with pytest.raises(ConfigError):
        Predictor.from_pretrained(page[1])
