"""Import contracts hold, each of them fails when it is broken, and no two folders import each other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from grimp import build_graph

ROOT = Path(__file__).parents[1]

# (file, line to add, what the linter must then say)
VIOLATIONS = [
    ("geometry/grid.py", "import beit.data.sampler", "beit.geometry.grid -> beit.data.sampler"),
    ("image/reading.py", "import beit.tokenizer.loss", "beit.image.reading -> beit.tokenizer.loss"),
    ("weights/rules.py", "import beit.models_torch.layers", "beit.weights.rules -> beit.models_torch.layers"),
    ("tokenizer/loss.py", "import beit.engine.schedule", "beit.tokenizer.loss -> beit.engine.schedule"),
    ("models_torch/layers.py", "import beit.tokenizer.loss", "beit.models_torch.layers -> beit.tokenizer.loss"),
    ("models_torch/layers.py", "import beit.data.sampler", "beit.models_torch.layers -> beit.data.sampler"),
    ("data/sampler.py", "import beit.engine.schedule", "beit.data.sampler -> beit.engine.schedule"),
    ("inference/predictor.py", "import beit.tasks.encode", "beit.inference.predictor -> beit.tasks.encode"),
    ("engine/schedule.py", "import beit.inference.predictor", "beit.engine.schedule -> beit.inference.predictor"),
    ("engine/loop.py", "import beit.tasks.encode", "beit.engine.loop -> beit.tasks.encode"),
    ("engine/task.py", "import beit.engine.run", "beit.engine.task -> beit.engine.run"),
    ("engine/schedule.py", "import beit.engine.loop", "beit.engine.schedule -> beit.engine.loop"),
    ("evaluation/checks.py", "import beit.engine.schedule", "beit.evaluation.checks -> beit.engine.schedule"),
    ("reports/report.py", "import beit.evaluation.checks", "beit.reports.report -> beit.evaluation.checks"),
    ("settings/groups.py", "import beit.reports.report", "beit.settings.groups -> beit.reports.report"),
    (
        "tasks/tokenizer/dvae.py",
        "import beit.tasks.pretrain.task",
        "beit.tasks.tokenizer.dvae -> beit.tasks.pretrain.task",
    ),
    ("tasks/finetune/task.py", "import beit.tasks.segment.task", "beit.tasks.finetune.task -> beit.tasks.segment.task"),
    ("engine/schedule.py", "import beit.cli.parser", "beit.engine.schedule -> beit.cli.parser"),
    ("inference/predictor.py", "import beit.service.batcher", "beit.inference.predictor -> beit.service.batcher"),
    ("service/batcher.py", "import beit.tasks.encode", "beit.service.batcher -> beit.tasks.encode"),
    ("service/batcher.py", "import beit.engine.schedule", "beit.service.batcher -> beit.engine.schedule"),
    (
        "inference/tasks/embed.py",
        "import beit.inference.loading",
        "beit.inference.tasks.embed -> beit.inference.loading",
    ),
    (
        "inference/pictures.py",
        "import beit.inference.jobs.chunk",
        "beit.inference.pictures -> beit.inference.jobs.chunk",
    ),
    ("config/checks.py", "import beit.geometry.grid", "beit.config.checks -> beit.geometry.grid"),
    ("weights/arguments.py", "import beit.image.steps", "beit.weights.arguments -> beit.image.steps"),
    ("files/writing.py", "import beit.hub.download", "beit.files.writing -> beit.hub.download"),
    ("files/writing.py", "import torch", "beit.files.writing -> torch"),
    ("image/steps.py", "import torch", "beit.image.steps -> torch"),
    ("weights/match.py", "import torch", "beit.weights.match -> torch"),
    ("geometry/grid.py", "import jax", "beit.geometry.grid -> jax"),
    ("models_flax/layers.py", "import torch", "beit.models_flax.layers -> torch"),
    (
        "models_flax/encoder.py",
        "import beit.models_torch.labels",
        "beit.models_flax.encoder -> beit.models_torch.labels",
    ),
    ("models_torch/labels.py", "import jax", "beit.models_torch.labels -> jax"),
    ("geometry/masks.py", "import transformers", "beit.geometry.masks -> transformers"),
    ("data/sources/folder.py", "import beit.data.opening", "beit.data.sources.folder -> beit.data.opening"),
    ("data/sampler.py", "import beit.data.dataset", "beit.data.sampler -> beit.data.dataset"),
    (
        "data/sources/source.py",
        "import beit.data.sources.folder",
        "beit.data.sources.source -> beit.data.sources.folder",
    ),
    (
        "data/sources/tar/shards.py",
        "import beit.data.sources.parquet.file",
        "beit.data.sources.tar.shards -> beit.data.sources.parquet.file",
    ),
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


@pytest.mark.e2e
def test_contracts_hold(tree):
    status, output = lint(tree)
    assert status == 0, output
    assert "11 kept, 0 broken" in output


@pytest.mark.e2e
def test_every_broken_rule_is_reported(tree):
    for file, line, _ in VIOLATIONS:
        path = tree / "src" / "beit" / file
        text = path.read_text()
        after = "from __future__ import annotations\n"
        assert after in text
        path.write_text(text.replace(after, f"{after}\n{line}\n", 1))
    status, output = lint(tree)
    assert status == 1
    assert "0 kept, 11 broken" in output
    compact = " ".join(output.split())
    assert [expected for *_, expected in VIOLATIONS if expected not in compact] == []


def test_every_folder_of_source_is_a_package():
    """Python takes a folder without `__init__.py` too; the guide's reference and some tools do not."""
    folders = {file.parent for room in ("src/beit", "tests") for file in (ROOT / room).rglob("*.py")}
    assert len(folders) > 30
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.e2e
def test_no_two_folders_import_each_other():
    """No folder imports another that imports it back, directly or around, at either level: rooms, and folders in them.

    A room is a folder or a file directly below `beit`. For the second level, a file belongs to the folder in which it
    lies. So a folder may import its subfolders, or a subfolder the files beside it, but not both: of the two one stands
    on the other. An `__init__.py` that exports names of its own subfolders does not count, nor does an import for type
    checking alone.
    """
    graph = build_graph("beit", exclude_type_checking_imports=True, cache_dir=None)
    packages = {module for module in graph.modules if graph.find_children(module)}

    def room(module):
        return ".".join(module.split(".")[:2])

    def folder(module):
        own = module if module in packages else module.rpartition(".")[0]
        return module if own == "beit" else own

    for level in (room, folder):
        edges = {
            (level(importer), level(imported))
            for importer in graph.modules - {"beit"}
            for imported in graph.find_modules_directly_imported_by(importer)
            if not imported.startswith(f"{importer}.")
        }
        assert len(edges) > 30
        assert circles_of(edges) == []


def test_circles_are_found():
    chain = {("a", "b"), ("b", "c"), ("b", "d"), ("a", "a")}
    assert circles_of(chain) == []
    assert circles_of(chain | {("d", "a"), ("c", "e"), ("e", "c")}) == [["a", "b", "d"], ["c", "e"]]


def circles_of(edges):
    """Return the groups of more than one that reach each other, sorted."""
    reached = {one: {there for here, there in edges if here == one} for pair in edges for one in pair}
    for middle in reached:
        for one, far in reached.items():
            if middle in far:
                reached[one] = far | reached[middle]
    groups = {frozenset(far for far in reached[one] if one in reached[far]) | {one} for one in reached}
    return sorted(sorted(group) for group in groups if len(group) > 1)
