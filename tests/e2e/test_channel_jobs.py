"""Pictures of four and of twelve channels in the jobs around the main line: scenes, VQ-KD, JAX, benchmark, export."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from beit import BeitForSemanticSegmentation
from beit.inference.predictor import Predictor
from beit.service.errors import ServiceError
from beit.service.loading import load_predictors
from beit.service.uploads import decode
from beit.settings.serve import ServeJob
from beit.tokenizer import load_tokenizer
from tests.e2e.small import MODEL, beit, losses
from tests.image.deep_files import tiff

RUN = ["--optim.warmup_steps=0", "--optim.lr=1e-3", "--train.batch_size=8", "--run.log_every=1", "--run.device=cpu"]
RUN += ["--run.save_every=2", "--train.max_steps=4", "--run.report=false"]


def done(*arguments):
    ended = beit(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


class Pictures:
    """A folder of two classes, with label maps: RGBA in PNG, or twelve bands of 16 bits in TIFF."""

    def __init__(self, place, channels):
        self.channels, self.folder, self.maps = channels, place / "pictures", place / "maps"
        rng = np.random.default_rng(0)
        for kind, level in (("dark", 0.2), ("light", 0.7)):
            for folder in (self.folder, self.maps):
                (folder / kind).mkdir(parents=True)
            for number in range(8):
                labels = np.zeros((24, 24), np.uint8)
                labels[:, rng.integers(6, 18) :] = 1
                values = level + 0.2 * labels[..., None] + rng.uniform(0, 0.1, (24, 24, channels))
                Image.fromarray(labels).save(self.maps / kind / f"{number}.png")
                if channels == 4:
                    Image.fromarray((values * 255).astype(np.uint8)).save(self.folder / kind / f"{number}.png")
                else:
                    content = tiff((values * 65535).astype(np.uint16), photometric="minisblack", planarconfig="contig")
                    (self.folder / kind / f"{number}.tif").write_bytes(content)
        (place / "classes.txt").write_text("left\nright\n")
        self.data = [f"--data.path={self.folder}", f"--data.channels={channels}", "--data.workers=0"]
        self.label_maps = [f"--label_maps.path={self.maps}", f"--label_maps.classes={place / 'classes.txt'}"]
        self.picture = next((self.folder / "light").iterdir())


@pytest.fixture(scope="module", params=[4, 12])
def pictures(request, tmp_path_factory):
    return Pictures(tmp_path_factory.mktemp("pictures"), request.param)


@pytest.fixture(scope="module")
def classifier(pictures, tmp_path_factory):
    run = tmp_path_factory.mktemp("classifier") / "run"
    done("finetune", *pictures.data, *MODEL, *RUN, f"--run.output={run}")
    return run / "model"


def test_scenes(pictures, tmp_path):
    run = tmp_path / "run"
    command = ["segment", *pictures.data, *pictures.label_maps, *MODEL, "--model.num_hidden_layers=4", *RUN]
    command.append(f"--run.output={run}")
    done(*command)
    model = run / "model"
    whole, trained = (model / "model.safetensors").read_bytes(), losses(run)
    assert BeitForSemanticSegmentation.from_pretrained(model).config.num_channels == pictures.channels
    for place in (model, run / "checkpoints" / "step_00000004"):  # as it is when the run is killed after step 2
        shutil.rmtree(place)
    (run / "result.json").unlink()
    done(*command)
    assert ((model / "model.safetensors").read_bytes(), losses(run)) == (whole, trained)
    output = tmp_path / "result.json"
    done("evaluate", f"--model={model}", *pictures.data, *pictures.label_maps, f"--output={output}")
    assert 0 <= json.loads(output.read_text())["numbers"]["mean_iou"] <= 1
    found = Predictor.from_pretrained(model, device="cpu").segment(pictures.picture)[0]
    assert (found.labels.shape, found.picture.mode, found.overlay().mode) == ((24, 24), "RGB", "RGB")
    ended = beit("evaluate", f"--model={model}", pictures.data[0], *pictures.label_maps)
    assert f"set data.channels to {pictures.channels}" in ended.stderr


def test_distilled_tokenizer(pictures, classifier, tmp_path):
    size = ["--image_size=16", "--model.patch_size=4", "--model.vocab_size=8", "--model.hidden_size=32"]
    size += ["--model.num_hidden_layers=1", "--model.num_attention_heads=2", "--model.intermediate_size=32"]
    run = tmp_path / "run"
    done("tokenizer", "distill", *pictures.data, f"--teacher={classifier}", *size, *RUN, f"--run.output={run}")
    assert load_tokenizer(run / "model").config.channels == pictures.channels


def test_jax(pictures, classifier, tmp_path):
    pytest.importorskip("flax")
    run = tmp_path / "run"
    start = [*pictures.data, f"--checkpoint={classifier}", *RUN, "--run.framework=jax"]
    done("finetune", *start, f"--run.output={run}")
    assert len(losses(run)) == 4


def test_benchmark(pictures, classifier, tmp_path):
    options = [f"--models=[{classifier}]", "--k=[2]", "--shots=[1]", "--device=cpu", f"--output={tmp_path / 'out'}"]
    done("benchmark", *pictures.data, "--data.val_share=0.25", *options)
    rows = json.loads((tmp_path / "out" / "result.json").read_text())["models"]
    assert [row["kind"] for row in rows] == ["pixels", "random", "model"]


def test_export_and_prediction(pictures, classifier, tmp_path):
    folder = tmp_path / "exported"
    done("export", f"--model={classifier}", "--to=onnx", f"--check={pictures.folder}", f"--output={folder}")
    ours, theirs = (Predictor.from_pretrained(one, device="cpu") for one in (classifier, folder))
    guesses = [one.classify(pictures.picture)[0].to_json() for one in (ours, theirs)]
    assert guesses[0]["predictions"][0]["label"] == guesses[1]["predictions"][0]["label"]
    rows = done("predict", str(folder), str(pictures.folder), "--json").splitlines()
    assert len(rows) == 16


def test_service(pictures, classifier):
    (served,) = load_predictors(ServeJob(models=(str(classifier),), device="cpu")).values()
    picture = decode(pictures.picture.read_bytes(), 10_000, served.preprocessing.bands)
    assert served.classify(picture)[0].to_json() == served.classify(pictures.picture)[0].to_json()
    with pytest.raises(ServiceError, match="expected at most 100 in all"):
        decode(pictures.picture.read_bytes(), 100, served.preprocessing.bands)
