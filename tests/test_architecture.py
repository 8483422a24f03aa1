"""The import contracts hold, and each of them fails when it is broken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# (file, line to add, what the linter must then say)
VIOLATIONS = [
    ("geometry/grid.py", "import beit.data.order", "beit.geometry.grid -> beit.data.order"),
    ("image/reading.py", "import beit.tokenizer.loss", "beit.image.reading -> beit.tokenizer.loss"),
    ("weights/rules.py", "import beit.models_torch.layers", "beit.weights.rules -> beit.models_torch.layers"),
    ("tokenizer/loss.py", "import beit.training.schedule", "beit.tokenizer.loss -> beit.training.schedule"),
    ("models_torch/layers.py", "import beit.tokenizer.loss", "beit.models_torch.layers -> beit.tokenizer.loss"),
    ("models_torch/layers.py", "import beit.data.order", "beit.models_torch.layers -> beit.data.order"),
    ("data/order.py", "import beit.training.schedule", "beit.data.order -> beit.training.schedule"),
    ("inference/predictor.py", "import beit.training.schedule", "beit.inference.predictor -> beit.training.schedule"),
    ("training/schedule.py", "import beit.inference.predictor", "beit.training.schedule -> beit.inference.predictor"),
    ("training/schedule.py", "import beit.cli.parser", "beit.training.schedule -> beit.cli.parser"),
    ("config.py", "import beit.geometry.grid", "beit.config -> beit.geometry.grid"),
    ("weights/report.py", "import beit.image.arrays", "beit.weights.report -> beit.image.arrays"),
    ("image/arrays.py", "import torch", "beit.image.arrays -> torch"),
    ("weights/adapt.py", "import torch", "beit.weights.adapt -> torch"),
    ("geometry/grid.py", "import jax", "beit.geometry.grid -> jax"),
    ("models_flax/layers.py", "import torch", "beit.models_flax.layers -> torch"),
    (
        "models_flax/encoder.py",
        "import beit.models_torch.labels",
        "beit.models_flax.encoder -> beit.models_torch.labels",
    ),
    ("models_torch/labels.py", "import jax", "beit.models_torch.labels -> jax"),
    ("data/views.py", "import transformers", "beit.data.views -> transformers"),
]


def lint(tree):
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command as c; c()",
    ]
    done = subprocess.run([*command, "--no-cache", "--verbose"], cwd=tree, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_hold(tree):
    status, output = lint(tree)
    assert status == 0, output
    assert "5 kept, 0 broken" in output


def test_every_broken_rule_is_told(tree):
    for file, line, _ in VIOLATIONS:
        path = tree / "src" / "beit" / file
        text = path.read_text()
        after = "from __future__ import annotations\n"
        assert after in text
        path.write_text(text.replace(after, f"{after}\n{line}\n", 1))
    status, output = lint(tree)
    assert status == 1
    assert "0 kept, 5 broken" in output
    compact = " ".join(output.split())
    assert [told for *_, told in VIOLATIONS if told not in compact] == []


def test_every_folder_of_source_is_a_package():
    """Python takes a folder without `__init__.py` too; the guide's reference and some tools do not."""
    folders = {file.parent for room in ("src/beit", "tests") for file in (ROOT / room).rglob("*.py")}
    assert len(folders) > 30
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
