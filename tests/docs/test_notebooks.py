"""The notebooks run from start to end and reach what they show."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

from tests.fake_hub import FakeHub

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("*.py"))

pytestmark = [pytest.mark.docs, pytest.mark.timeout(600)]  # half a minute on a core of its own


def executed(name, folder, changes=(), **variables):
    """Run the source of a notebook, with some lines changed, in a folder; return what it prints and its accuracies."""
    text = (NOTEBOOKS / f"{name}.py").read_text()
    for said, other in changes:
        assert text.count(said) == 1, said
        text = text.replace(said, other)
    (folder / "source.py").write_text(text)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", **variables}
    done = subprocess.run(
        [sys.executable, "-W", "ignore:FigureCanvasAgg:UserWarning", "source.py"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    accuracies = re.findall(r"^([\w ,-]+): accuracy ([\d.]+)", done.stdout, flags=re.MULTILINE)
    return done.stdout, {way: float(accuracy) for way, accuracy in accuracies}


def test_finetune_custom_data(tmp_path):
    """Every accuracy that is printed: by the job, by the plain loop, and on the same pictures in three other forms."""
    _, accuracies = executed("finetune_custom_data", tmp_path)
    assert list(accuracies) == ["beit finetune", "plain loop", "a file of labels", "parquet", "tar"]
    assert accuracies["beit finetune"] > 0.5
    assert accuracies["plain loop"] > 0.5
    assert {accuracies[form] for form in ("a file of labels", "parquet", "tar")} == {accuracies["beit finetune"]}


def test_inference(tmp_path):
    """The stand-ins answer, say that they do, and are better than chance; every form of a picture has one answer."""
    text, accuracies = executed("inference", tmp_path)
    assert accuracies["stand-in classifier"] > 0.5
    assert answering(text) == [
        ("runs/inference/classifier", "attend, classify, embed, features, neighbours"),
        ("runs/inference/segmenter", "attend, embed, features, neighbours, segment"),
        ("runs/inference/pretrained", "attend, embed, features, neighbours, reconstruct"),
    ]
    forms = re.findall(r"^ +(Image|PosixPath|bytes|ndarray): (\w+ [\d.]+)$", text, flags=re.MULTILINE)
    assert len(forms) == 5
    assert len({answer for _, answer in forms}) == 1
    shares = ast.literal_eval(re.search(r"^\{'.*\}$", text, flags=re.MULTILINE)[0])
    assert set(shares) == {"table", "paper", "ink"}
    assert "this model cannot classify: it has no classes yet" in text
    published_models_answer(tmp_path)


def published_models_answer(folder):
    """The same with OFFLINE = False: the stand-ins lie on a hub of this machine, under the published names."""
    names = {
        "microsoft/beit-base-patch16-224": "classifier",
        "microsoft/beit-base-finetuned-ade-640-640": "segmenter",
        "microsoft/beit-base-patch16-224-pt22k": "pretrained",
    }
    config = folder / "runs/inference/segmenter/config.json"
    options = json.loads(config.read_text())
    for name in ("out_indices_meaning", "out_features"):
        options.pop(name, None)
    config.write_text(json.dumps(options | {"out_indices": [0, 1, 2, 3]}))  # as Microsoft counts them
    changes = [("\nOFFLINE = True\n", "\nOFFLINE = False\n"), ('"openai/DALL-E"', '"runs/inference/tokenizer"')]
    with FakeHub() as hub:
        for name, stand_in in names.items():
            hub.add(name, folder / "runs/inference" / stand_in)
        text, accuracies = executed("inference", folder, changes, **hub.environment(folder / "home"))
    assert [name for name, _ in answering(text)] == list(names)
    assert not accuracies, "nobody knows what is in a photograph"


def answering(text):
    """Return which models say that they answer, and what they can."""
    return re.findall(r"^(\S+): [\d,]+ parameters, can ([\w, ]+)$", text, flags=re.MULTILINE)


def test_masked_image_modeling(tmp_path):
    """It predicts more than frequencies, and pre-training beats random weights at both tasks."""
    text, accuracies = executed("masked_image_modeling", tmp_path)
    right, frequent = map(
        float,
        re.search(r"pictures ([\d.]+)% are predicted right; always the most frequent one: ([\d.]+)%", text).groups(),
    )
    assert right > frequent
    assert accuracies["probe, pre-trained"] > accuracies["probe, random weights"] + 0.05
    assert accuracies["tune, pre-trained"] > accuracies["tune, random weights"]


def test_every_notebook_is_run():
    """A new notebook needs a test of what it reaches."""
    assert {f"test_{source.stem}" for source in SOURCES} <= globals().keys()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_notebook_is_its_source_executed(source):
    """`make notebooks` writes the .ipynb, with outputs, from the .py beside it."""
    made = json.loads(source.with_suffix(".ipynb").read_text())
    cells = [(cell.cell_type, cell.source) for cell in jupytext.read(source).cells]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]] == cells
    assert len(cells) > 5
    for cell in made["cells"]:
        if cell["cell_type"] == "code":
            assert cell["execution_count"], "".join(cell["source"])
            assert all(output["output_type"] != "error" for output in cell["outputs"])
            said = json.dumps(cell["outputs"])
            assert not re.search(r"Warning|/(tmp|home|root|work|usr)/", said), "of the machine that executed it"
    pictures = [
        output for cell in made["cells"] for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert pictures
