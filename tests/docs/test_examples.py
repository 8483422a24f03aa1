"""Every script of examples/ does what its first lines say, with no more than they name, on small data and models."""

import csv
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import ExifTags, Image, ImageDraw

from beit import BeitForMaskedImageModeling, DiscreteVAE, DiscreteVAEConfig, Predictor, load_tokenizer, preset
from beit.data import open_source
from beit.engine.run_folder import RunFolder
from beit.image import Preprocessing
from tests.e2e.loops import PROCESSOR, SMALL, new_classifier

pytestmark = pytest.mark.docs

EXAMPLES = Path(__file__).parents[2] / "examples"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# What beit without extras does not bring.
EXTRAS = [
    "accelerate", "datasets", "fastapi", "flax", "jax", "jinja2", "jsonargparse", "matplotlib", "onnx", "onnxruntime",
    "optax", "pyarrow", "pydantic", "rich", "sklearn", "tensorboard", "torchmetrics", "transformers", "yaml",
]  # fmt: skip
MODULES = {"scikit-learn": "sklearn", "transformers>=5": "transformers"}


@dataclass(frozen=True)
class Case:
    """How a script is run: its arguments, and what is made smaller in it."""

    arguments: list[str]
    smaller: dict[str, str] = field(default_factory=dict)


LACKING = {"digits/test": "digits/few"}  # pictures of eight classes only
TRAINING = {"LEARNING_RATE = 5, 32, 5e-5": "LEARNING_RATE = 5, 20, 3e-3"}
SHORT = {"warmup_steps=10": "warmup_steps=2", "batch_size=16, max_steps=200": "batch_size=8, max_steps=12"}
CASES = {
    "active_learning": Case(["pretrained", "digits/train", "labels.csv", "OUTPUT"], SHORT),
    "adapters_peft": Case(
        ["pretrained", "digits/train", "digits/test", "adapters"],
        {"LEARNING_RATE = 5, 32, 1e-3": "LEARNING_RATE = 5, 20, 1e-2"},
    ),
    "attention_picture": Case(["classifier", "picture.png", "attention.png", "--patch", "1", "2", "--layer", "0"]),
    "classify_folder": Case(["classifier", "digits/test"]),
    "custom_tokenizer": Case(
        ["digits/train", "colours"],
        {
            'size="tiny", image_size=64': 'size="tiny", hidden_size=48, num_attention_heads=4, image_size=64',
            "warmup_steps=20": "warmup_steps=1",
            "batch_size=64, max_steps=1000": "batch_size=16, max_steps=3",
        },
    ),
    "dedup_folder": Case(["classifier", "copies", "duplicates.csv", "--move", "aside"]),
    "distill_student": Case(
        ["classifier", "digits/train", "digits/test", "student"],
        {
            'size="tiny", image_size=224': 'size="tiny", hidden_size=48, num_attention_heads=4, num_hidden_layers=2, '
            "image_size=16, patch_size=4",
            "warmup_steps=100": "warmup_steps=2",
            "batch_size=64, max_steps=5000": "batch_size=16, max_steps=10",
        },
    ),
    "export_and_run_onnx": Case(["classifier", "exported", "picture.png"]),
    "extract_features": Case(["pretrained", "digits/test", "features.parquet"]),
    "grad_cam": Case(["classifier", "picture.png", "heat.png", "--label", "two"]),
    "jax_finetune": Case(["pretrained", "digits/train", "digits/test", "jax"], TRAINING),
    "linear_probe": Case(["pretrained", "digits/train", "digits/test"]),
    "load_any_checkpoint": Case(["pretrained", "copy"]),
    "plain_pytorch_finetune": Case(["pretrained", "digits/train", "digits/test", "plain"], TRAINING),
    "pretrain_own_loop": Case(
        ["tokenizer", "digits/train", "own_loop"],
        {
            "STEPS, BATCH_SIZE, SEED = 10_000, 64, 0": "STEPS, BATCH_SIZE, SEED = 60, 16, 0",
            'preset("small", ': f'preset("tiny", **{SMALL}, ',
            "count=75, min_block=16": "count=7, min_block=2",
            "workers=4": "workers=0",
            "lr=5e-4": "lr=3e-3",
        },
    ),
    "satellite_bands": Case(
        ["pretrained", "bands", "10000", "land_cover"],
        {"warmup_steps=50": "warmup_steps=2", "batch_size=32, max_steps=1000": "batch_size=16, max_steps=40"},
    ),
    "segment_own_masks": Case(
        ["pretrained", "scenes/pictures", "scenes/masks", "scenes/classes.txt", "scenes_run"],
        {
            "image_size=512": "image_size=16",
            "lr=5e-4": "lr=5e-3",
            "warmup_steps=100, layer_decay=0.65": "warmup_steps=1, layer_decay=1.0",
            "batch_size=8, max_steps=2000": "batch_size=4, max_steps=12",
        },
    ),
    "serve_client": Case(["ADDRESS", "picture.png"]),
    "transformers_trainer": Case(
        ["pretrained", "digits/train", "digits/test", "trainer"], {"learning_rate=5e-5": "learning_rate=3e-3"}
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with digits, scenes, and small models that nobody trained."""
    place = tmp_path_factory.mktemp("examples")
    for part, count in (("train", 200), ("test", 40)):
        digits = open_source(f"digits:{part}")
        for index in range(count):
            folder = place / "digits" / part / DIGITS[digits.labels[index]]
            folder.mkdir(parents=True, exist_ok=True)
            digits.load(index).resize((32, 32)).save(folder / f"{index:03}.png")
    shutil.copytree(place / "digits" / "test", place / "digits" / "few", ignore=shutil.ignore_patterns("eight", "one"))
    open_source("digits:test").load(0).resize((40, 32)).save(place / "picture.png")
    sideways = Image.Exif()
    sideways[ExifTags.Base.Orientation] = 6
    rows = np.linspace(0, 255, 64)[:, None] * np.ones((1, 40))
    Image.fromarray(rows.astype(np.uint8)).save(place / "turned.png", exif=sideways)
    classifier = new_classifier()
    classifier.config.id2label = dict(enumerate(sorted(DIGITS)))
    classifier.save_pretrained(place / "classifier")
    torch.manual_seed(0)
    wide = preset("tiny", **SMALL | {"num_hidden_layers": 4}, vocab_size=32)
    BeitForMaskedImageModeling(wide).save_pretrained(place / "pretrained")
    for folder in ("classifier", "pretrained"):
        PROCESSOR.save_pretrained(place / folder)
    shutil.copytree(place / "classifier", place / "cropping")
    Preprocessing((16, 16), 20).save_pretrained(place / "cropping")
    codebook = DiscreteVAEConfig(vocab_size=32, hidden_size=8, groups=2, blocks_per_group=1, decoder_input_size=8)
    DiscreteVAE(codebook).save_pretrained(place / "tokenizer")
    draw_scenes(place / "scenes")
    return place


def draw_scenes(folder):
    """Discs on the ground, and where they are."""
    rng = np.random.default_rng(0)
    for kind in ("pictures", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(20):
        mask = Image.new("L", (32, 24))
        left, top = rng.integers(0, 16, 2)
        ImageDraw.Draw(mask).ellipse((left, top, left + 10, top + 8), fill=1)
        mask.save(folder / "masks" / f"{number}.png")
        mask.point(lambda value: 40 + 150 * value).convert("RGB").save(folder / "pictures" / f"{number}.jpg")
    (folder / "classes.txt").write_text("ground\ndisc\n")


def run(name, place, **places):
    """Run a script in `place`; return what it prints."""
    case, script = CASES[name], EXAMPLES / f"{name}.py"
    text = script.read_text()
    if case.smaller:
        for said, smaller in case.smaller.items():
            assert text.count(said) == 1, said
            text = text.replace(said, smaller)
        script = place / f"{name}.py"
        script.write_text(text)
    blocked = place / f"without_{name}"
    blocked.mkdir(exist_ok=True)
    (blocked / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({without(text)}))\n")
    search = os.pathsep.join([str(blocked), str(EXAMPLES.parent / "src")])
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    arguments = [places.get(argument, argument) for argument in case.arguments]
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=place, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def without(text):
    """Return the libraries that a script does not name among its needs, and so must not use."""
    needs = re.search(r"[Nn]eeds beit (alone|with its extra|and `pip install ([^`]*)`)", " ".join(text.split()))
    if needs is None:  # Python's own library
        return [*EXTRAS, "beit", "numpy", "torch"]
    if needs[1].startswith("with"):  # an extra brings others with it
        return []
    named = {MODULES.get(word, word) for word in (needs[2] or "").replace("'", "").split()}
    return [] if named & {"transformers", "sklearn", "peft"} else sorted(set(EXTRAS) - named)


def test_every_script_has_a_case():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == CASES.keys()


def test_every_script_has_a_line_in_the_readme():
    named = re.findall(r"^\| \[(\w+)\.py\]\((\w+)\.py\) \|", (EXAMPLES / "README.md").read_text(), flags=re.MULTILINE)
    assert sorted(named) == sorted((name, name) for name in CASES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_scripts_are_short_and_say_how_they_are_run(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    assert f"\n    python examples/{name}.py " in text
    assert len(text.splitlines()) <= 70


def test_active_learning(place):
    """Two rounds: the first without labels, the second with those that it asked for."""
    assert "20 pictures to label: rounds/1/to_label.csv" in run("active_learning", place, OUTPUT="rounds/1")
    with (place / "rounds/1/to_label.csv").open(newline="") as file:
        asked = [row["file_name"] for row in csv.DictReader(file)]
    assert len({*asked}) == 20
    labels = [f"{name},{Path(name).parent}" for name in asked]
    (place / "labels.csv").write_text("\n".join(["file_name,label", *labels]) + "\n")
    assert "20 labels: accuracy on held-out ones " in run("active_learning", place, OUTPUT="rounds/2")
    with (place / "rounds/2/to_label.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file_name"] for row in rows}.isdisjoint(asked)
    assert {row["label"] for row in rows} <= {Path(name).parent.name for name in asked}


def test_attention_picture(place):
    run("attention_picture", place)
    with Image.open(place / "attention.png") as picture:
        assert picture.width > 600
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_classify_folder(place):
    rows = list(csv.DictReader(run("classify_folder", place).splitlines()))
    assert len(rows) == 40
    expected = Predictor.from_pretrained(place / "classifier").classify(
        [place / row["picture"] for row in rows], top_k=1
    )
    assert [(row["class"], float(row["probability"])) for row in rows] == [
        (answer.label, round(answer.probabilities[0], 3)) for answer in expected
    ]


def test_custom_tokenizer(place):
    assert "'frequency_loss'" in run("custom_tokenizer", place)
    assert RunFolder(place / "colours").read_result()["loss"] < 5
    with Image.open(place / "colours" / "reconstruction.png") as picture:
        assert picture.size == (3 * 64, 64)


def test_dedup_folder(place):
    (place / "copies").mkdir()
    digits = open_source("digits:test")
    for index in range(6):
        picture = digits.load(index).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
        picture.save(place / "copies" / f"{index}.png")
    picture.resize((48, 48), Image.Resampling.BICUBIC).save(place / "copies" / "again.jpg")
    assert "7 pictures, 1 repeat another" in run("dedup_folder", place)
    (row,) = csv.DictReader((place / "duplicates.csv").read_text().splitlines())
    assert (row["picture"], row["repeats"]) == ("copies/again.jpg", "copies/5.png")
    assert float(row["similarity"]) > 0.95
    assert [path.name for path in (place / "aside").iterdir()] == ["again.jpg"]


def test_distill_student(place):
    printed = run("distill_student", place)
    assert re.findall(r"^accuracy on digits/test, (.*): 0\.\d{3}$", printed, re.M) == ["with the teacher", "without it"]


def test_export_and_run_onnx(place):
    """And its second half alone, where neither beit nor torch can be imported."""
    lines = [line.split() for line in run("export_and_run_onnx", place).splitlines()]
    best = Predictor.from_pretrained(place / "classifier").classify(place / "picture.png", top_k=3)[0]
    probabilities = [f"{probability:.1%}" for probability in best.probabilities]
    assert lines[-3:] == [list(pair) for pair in zip(probabilities, best.labels, strict=True)]
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(['beit', 'torch']))\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(EXAMPLES)!r})\nfrom export_and_run_onnx import classify\n"
        "print(classify(Path('exported'), 'picture.png')[0][0])"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=place, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == best.label, done.stderr
    printed = run("export_and_run_onnx", place, **{"picture.png": "turned.png"})
    best = Predictor.from_pretrained(place / "classifier").classify(place / "turned.png", top_k=3)[0]
    assert [line.split()[1] for line in printed.splitlines()] == best.labels


def test_extract_features(place):
    lines = run("extract_features", place).splitlines()
    table = pyarrow.parquet.read_table(place / "features.parquet").to_pydict()
    assert len(lines) == len(table["picture"]) == 40
    first = Predictor.from_pretrained(place / "pretrained").embed(place / table["picture"][0])[0].vector
    np.testing.assert_allclose(table["embedding"][0], first, rtol=1e-4, atol=1e-5)
    for line in lines:
        picture, nearest = line.split(": ")
        assert len(nearest.split(", ")) == 3
        assert picture not in nearest


def test_adapters_peft(place):
    printed = run("adapters_peft", place, **LACKING)
    assert float(re.search(r"accuracy on digits/few: ([\d.]+)", printed)[1]) > 0.2, "a tenth is chance"
    adapter = place / "adapters" / "adapter" / "adapter_model.safetensors"
    assert adapter.stat().st_size < (place / "adapters" / "base" / "model.safetensors").stat().st_size / 3


@pytest.mark.parametrize("name", ["jax_finetune", "plain_pytorch_finetune", "transformers_trainer"])
def test_fine_tuning(name, place):
    printed = run(name, place, **LACKING)
    accuracy = float(re.search(r"^accuracy on digits/few: ([\d.]+)$", printed, flags=re.MULTILINE)[1])
    assert accuracy > 0.2, "a tenth is chance"
    digits = open_source(str(place / "digits/few"))
    predictor = Predictor.from_pretrained(place / CASES[name].arguments[-1])
    answers = predictor.classify([digits.load(index) for index in range(len(digits))], top_k=1)
    right = [answer.label == digits.classes[label] for answer, label in zip(answers, digits.labels, strict=True)]
    assert np.mean(right) == pytest.approx(accuracy, abs=0.03)


def test_grad_cam(place):
    assert re.fullmatch(r"two: [\d.]+%, most of it in patch \([0-3], [0-3]\)\n", run("grad_cam", place))
    with Image.open(place / "heat.png") as heat, Image.open(place / "picture.png") as picture:
        changed = np.abs(np.asarray(heat, int) - np.asarray(picture.convert("RGB"), int)).sum(-1)
        assert heat.size == picture.size
    assert changed.max() > 50
    assert changed.min() < 5, "some of the picture says nothing"
    run("grad_cam", place, **{"classifier": "cropping", "picture.png": "turned.png"})
    with Image.open(place / "heat.png") as heat:  # of the middle of 40 x 64 pixels, which are bright on the left
        assert heat.size == (32, 32)
        dark, bright = (np.asarray(heat.convert("RGB"), int)[:, column, 2].mean() for column in (-1, 0))
        assert bright > dark + 20


def test_linear_probe(place):
    assert float(run("linear_probe", place).split()[-1]) > 0.2, "a tenth is chance"


def test_load_any_checkpoint(place):
    assert "BeitForMaskedImageModeling of " in run("load_any_checkpoint", place)
    before, after = (Predictor.from_pretrained(place / name) for name in ("pretrained", "copy"))
    pictures = place / "digits/test/two"
    for one, other in zip(before.embed(pictures), after.embed(pictures), strict=True):
        np.testing.assert_array_equal(one.vector, other.vector)


def test_pretrain_own_loop(place):
    printed = run("pretrain_own_loop", place)
    assert float(re.search(r"step 60: loss ([\d.]+)", printed)[1]) < 3.4, "the logarithm of 32 is 3.47"
    predictor = Predictor.from_pretrained(place / "own_loop", tokenizer=load_tokenizer(place / "tokenizer"))
    assert "reconstruct" in predictor.tasks


def test_satellite_bands(place):
    chance = np.random.default_rng(0)
    for kind, spectrum in {"field": np.linspace(0.1, 0.6, 5), "water": np.linspace(0.4, 0.05, 5)}.items():
        (place / "bands" / kind).mkdir(parents=True)
        for number in range(30):
            scene = spectrum + 0.03 * chance.standard_normal((16, 16, 5))
            np.save(place / "bands" / kind / f"{number}.npy", (scene * 10_000).clip(0, 10_000).astype(np.uint16))
    printed = run("satellite_bands", place)
    assert "5 bands, means from 0." in printed
    assert float(re.search(r"held-out scenes: ([\d.]+)", printed)[1]) > 0.8


def test_segment_own_masks(place):
    printed = run("segment_own_masks", place)
    assert float(re.search(r"^mean IoU of held-out pictures: ([\d.]+)$", printed, flags=re.MULTILINE)[1]) > 0.3
    with Image.open(place / "scenes_run" / "overlay.png") as picture:
        assert picture.height >= 24


def test_serve_client(place):
    command = [sys.executable, "-m", "beit", "serve", "digits=classifier", "--port", "0"]
    environment = {**os.environ, "BEIT_SERVE_TOKEN": "secret", "PYTHONPATH": str(EXAMPLES.parent / "src")}
    with subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True) as service:
        try:
            address = service.stdout.readline().split()[-1]
            os.environ["BEIT_SERVE_TOKEN"] = "secret"  # noqa: S105  # of this test
            lines = run("serve_client", place, ADDRESS=address).splitlines()
        finally:
            os.environ.pop("BEIT_SERVE_TOKEN", None)
            service.terminate()
    best = Predictor.from_pretrained(place / "classifier").classify(place / "picture.png", top_k=3)[0]
    assert [line.split()[1] for line in lines] == best.labels
