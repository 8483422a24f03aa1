"""Pictures of twelve bands through the main line: clustered, pre-trained, continued, fine-tuned, measured, asked."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from beit import BeitForImageClassification, BeitForMaskedImageModeling
from beit.inference.predictor import Predictor
from tests.e2e.small import CODEBOOK, MODEL, beit, losses
from tests.image.deep_files import png16

BANDS = 12
RANGE = [0.0, 10000.0]
RUN = ["--optim.warmup_steps=0", "--optim.lr=1e-3", "--train.batch_size=8", "--run.log_every=1", "--run.device=cpu"]
PRETRAIN = ["pretrain", *MODEL, "--mask.count=7", "--mask.min_block=2", *RUN, "--monitor.every=0", "--run.save_every=2"]


def reflectance(kind, rng):
    """Return a scene of 24 x 24 pixels with stripes: plants are bright in the upper bands, water in the lower."""
    spectrum = np.linspace(0.2, 0.6, BANDS) if kind == "plants" else np.linspace(0.5, 0.1, BANDS)
    rows, columns = np.mgrid[:24, :24]
    tilt, shift = rng.uniform(-1, 1, 2), rng.uniform(0, 6)
    light = 0.7 + 0.4 * np.sin(tilt[0] * rows + tilt[1] * columns + shift)
    return ((light[..., None] * spectrum + 0.02 * rng.standard_normal((24, 24, BANDS))) * 10000).astype(np.float32)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for kind in ("plants", "water"):
        (folder / kind).mkdir()
        for number in range(16):
            np.save(folder / kind / f"{number:02d}.npy", reflectance(kind, rng))
    data = [f"--data.path={folder}", f"--data.channels={BANDS}", f"--data.value_range={RANGE}", "--data.workers=0"]
    return folder, data


def done(*arguments):
    ended = beit(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def refused(*arguments):
    ended = beit(*arguments)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.fixture(scope="module")
def tokenizer(scenes, tmp_path_factory):
    run = tmp_path_factory.mktemp("tokenizer") / "run"
    options = ["--image_size=16", "--model.vocab_size=8", "--model.patch_size=4", "--clustering.windows=300"]
    done("tokenizer", "cluster", *scenes[1], *options, f"--run.output={run}")
    return ["--tokenizer.path", str(run / "model")]


@pytest.fixture(scope="module")
def statistics(scenes, tmp_path_factory):
    file = tmp_path_factory.mktemp("statistics") / "numbers.json"
    done("statistics", *scenes[1], f"--output={file}")
    found = json.loads(file.read_text())
    assert len(found["mean"]) == len(found["std"]) == BANDS
    assert found["mean"][0] == pytest.approx(0.7 * 0.35, abs=0.03)  # the mean of 0.2 and 0.5, in that light
    return [f"--model.image_mean={found['mean']}", f"--model.image_std={found['std']}"]


@pytest.fixture(scope="module")
def pretrained(scenes, tokenizer, statistics, tmp_path_factory):
    run = tmp_path_factory.mktemp("pretrained") / "run"
    done(*PRETRAIN, *scenes[1], *tokenizer, *statistics, "--train.max_steps=4", f"--run.output={run}")
    return run


@pytest.fixture(scope="module")
def classifier(scenes, pretrained, tmp_path_factory):
    run = tmp_path_factory.mktemp("classifier") / "run"
    checkpoint = f"--checkpoint={pretrained / 'model'}"
    done("finetune", *scenes[1], checkpoint, *RUN, "--train.max_steps=20", f"--run.output={run}")
    return run / "model"


def test_a_run_continues_bit_for_bit(scenes, tokenizer, statistics, pretrained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(pretrained, run)  # as it is when the run is killed after step 2
    for place in (run / "model", run / "checkpoints" / "step_00000004"):
        shutil.rmtree(place)
    (run / "result.json").unlink()
    done(*PRETRAIN, *scenes[1], *tokenizer, *statistics, "--train.max_steps=4", f"--run.output={run}")
    ours, whole = (folder / "model" / "model.safetensors" for folder in (run, pretrained))
    assert ours.read_bytes() == whole.read_bytes()
    assert losses(run) == losses(pretrained)


def test_a_model_of_bands_is_saved_with_what_it_needs(pretrained):
    config = json.loads((pretrained / "model" / "config.json").read_text())
    view = json.loads((pretrained / "model" / "preprocessor_config.json").read_text())
    assert config["num_channels"] == len(view["image_mean"]) == len(view["image_std"]) == BANDS
    assert view["value_range"] == RANGE
    model = BeitForMaskedImageModeling.from_pretrained(pretrained / "model")
    assert model.beit.embeddings.patch_embeddings.projection.weight.shape[1] == BANDS
    assert (pretrained / "report.html").is_file()


def test_bands_are_measured_and_asked(scenes, classifier, tmp_path):
    folder, data = scenes
    said = done("evaluate", f"--model={classifier}", *data, f"--report={tmp_path / 'report.html'}")
    assert "accuracy" in said
    rows = [json.loads(line) for line in done("predict", str(classifier), str(folder), "--json").splitlines()]
    assert len(rows) == 32
    predictor = Predictor.from_pretrained(classifier, device="cpu")
    scene = np.load(folder / "water" / "00.npy")
    by_path, by_array = predictor.classify([folder / "water" / "00.npy", scene])
    assert by_path.to_json() == by_array.to_json()
    assert predictor.embed(folder / "water")[0].vector.shape == (32,)
    assert predictor.attend(scene)[0].picture.mode == predictor.features(scene)[0].picture.mode == "RGB"
    nearest = predictor.neighbours([folder / "water" / "00.npy"], among=folder, k=3)[0]
    assert len(nearest.paths) == 3


def test_changes_of_colours_refuse_others_in_words(scenes, tmp_path):
    assert "RandAugment" in refused(
        "finetune", *scenes[1], *MODEL, *RUN, "--rand_augment.operations=2", "--augment.color_jitter=0",
        f"--run.output={tmp_path / 'run'}"
    )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_a_model_is_refused(scenes, classifier, pretrained, tokenizer, tmp_path):
    folder = scenes[0]
    start = ["finetune", f"--data.path={folder}", f"--checkpoint={pretrained / 'model'}", *RUN]
    start += ["--data.workers=0", f"--run.output={tmp_path / 'run'}"]
    assert "set data.channels to 12" in refused(*start, "--data.channels=4")
    assert "has learnt from [0, 10000]" in refused(*start, "--data.channels=12")
    evaluate = ["evaluate", f"--model={classifier}", f"--data.path={folder}", "--data.workers=0"]
    assert "set data.value_range to [0, 10000]" in refused(*evaluate, "--data.channels=12")
    assert "the tokenizer takes 12 channels" in refused(
        *PRETRAIN, "--data.path=digits:train", "--data.channels=1", *tokenizer, f"--run.output={tmp_path / 'run'}"
    )


def test_grey_is_one_channel(tmp_path):
    data = ["--data.path=digits:train", "--data.channels=1", "--data.workers=0", "--data.per_class=4"]
    codebook = [f"--tokenizer.codebook.{option}" for option in CODEBOOK]
    first = ["--tokenizer.train.max_steps=2", "--tokenizer.train.batch_size=8"]
    run = f"--run.output={tmp_path / 'run'}"
    done(*PRETRAIN, *data, *codebook, *first, "--train.max_steps=2", run)
    model = BeitForMaskedImageModeling.from_pretrained(tmp_path / "run" / "model")
    assert model.config.num_channels == 1


def test_a_model_of_colours_is_inflated(scenes, statistics, tmp_path):
    options = ["--data.path=digits:train", "--data.workers=0", "--data.per_class=4", *MODEL, *RUN]
    done("finetune", *options, "--train.max_steps=1", f"--run.output={tmp_path / 'rgb'}")
    start = [*scenes[1], *RUN, f"--checkpoint={tmp_path / 'rgb' / 'model'}", "--train.max_steps=1"]
    start += [f"--run.output={tmp_path / 'bands'}"]
    assert "set model.image_mean" in refused("finetune", *start)
    ended = beit("finetune", *start, *statistics)
    assert ended.returncode == 0, ended.stderr
    assert "inflated from 3 to 12 channels" in ended.stderr
    model = BeitForImageClassification.from_pretrained(tmp_path / "bands" / "model")
    assert model.config.num_channels == BANDS


def test_sixteen_bits_of_grey_reach_the_model(tmp_path):
    (tmp_path / "scans").mkdir()
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) + 30000
    Image.fromarray(deep).save(tmp_path / "scans" / "one.png")
    data = [f"--data.path={tmp_path / 'scans'}", "--data.channels=1"]
    done("statistics", *data, "--data.value_range=[30000, 30255]", f"--output={tmp_path / 'numbers.json'}")
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["mean"] == [pytest.approx(0.5, abs=1e-3)]
    assert found["std"] == [pytest.approx(0.29, abs=0.01)]


def test_sixteen_bits_of_colours_reach_the_model(tmp_path):
    for kind, least in (("dark", 30_000), ("bright", 30_128)):  # within one of 256 levels
        (tmp_path / "scans" / kind).mkdir(parents=True)
        for number in range(8):
            deep = np.random.default_rng(number).integers(least, least + 100, (16, 16, 3)).astype(np.uint16)
            (tmp_path / "scans" / kind / f"{number}.png").write_bytes(png16(deep))
    data = [f"--data.path={tmp_path / 'scans'}", "--data.value_range=[30000, 30255]", "--data.workers=0"]
    model = tmp_path / "run" / "model"
    done("finetune", *data, *MODEL, *RUN, "--train.max_steps=30", f"--run.output={tmp_path / 'run'}")
    assert json.loads((model / "preprocessor_config.json").read_text())["value_range"] == [30000.0, 30255.0]
    rows = [json.loads(line) for line in done("predict", str(model), str(tmp_path / "scans"), "--json").splitlines()]
    assert sum(row["predictions"][0]["label"] in row["picture"] for row in rows) == 16
