"""The notebooks run from start to end and reach what they show."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("*.py"))


@pytest.mark.timeout(600)  # half a minute on a core of its own
def test_custom_data(tmp_path):
    """Every accuracy that is printed: by the job, by the plain loop, and on the same pictures in three other forms."""
    source = NOTEBOOKS / "finetune_custom_data.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore:FigureCanvasAgg:UserWarning", source],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = dict(re.findall(r"^([\w ]+): accuracy ([\d.]+)", done.stdout, flags=re.MULTILINE))
    assert list(told) == ["beit finetune", "plain loop", "a file of labels", "parquet", "tar"]
    assert float(told["beit finetune"]) > 0.5
    assert float(told["plain loop"]) > 0.5
    assert {told[form] for form in ("a file of labels", "parquet", "tar")} == {told["beit finetune"]}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_notebook_is_its_source_executed(source):
    """`make notebooks` writes the .ipynb, with outputs, from the .py beside it."""
    jupytext = pytest.importorskip("jupytext", reason="make setup installs it")
    made = json.loads(source.with_suffix(".ipynb").read_text())
    cells = [(cell.cell_type, cell.source) for cell in jupytext.read(source).cells]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]] == cells
    assert len(cells) > 5
    for cell in made["cells"]:
        if cell["cell_type"] == "code":
            assert cell["execution_count"], "".join(cell["source"])
            assert all(output["output_type"] != "error" for output in cell["outputs"])
    pictures = [
        output for cell in made["cells"] for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert pictures
