"""Every writer of the package meets a full disk: one clear error, the earlier file as it was, nothing half-written.

`WRITERS` lists them. A file of the package that writes and is not in it, or that writes past `beit.files`, fails here.
"""

import ast
import io
import json
import os
import shutil
import stat
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import beit
from beit import (
    BeitConfig,
    BeitForImageClassification,
    BeitForSemanticSegmentation,
    BeitImageProcessor,
    FlaxBeitForImageClassification,
)
from beit.data import BrokenPicture, BrokenPictures, TokenWriter, write_labels_and_names
from beit.data.sources.index_cache import load_arrays, save_arrays
from beit.engine.checkpoints import save_checkpoint
from beit.engine.interruption import stop_diverged
from beit.engine.metrics import MetricsLog
from beit.engine.run_folder import RunFolder, open_run_folder
from beit.engine.torch_backend import save_choices
from beit.errors import BeitError, StorageError
from beit.evaluation.classification.evaluate import evaluate
from beit.evaluation.features.attentive import AttentiveScores
from beit.evaluation.features.benchmark import Benchmark, Measured
from beit.evaluation.features.benchmark_files import write_benchmark
from beit.evaluation.features.frozen import raw_pixels
from beit.evaluation.features.kept_features import ModelFeatures, SetFeatures, write_attentive, write_features
from beit.evaluation.features.probes import LayerScores, ModelScores
from beit.evaluation.segmentation.evaluate import evaluate_scenes
from beit.evaluation.tokenizer.evaluate import evaluate_tokenizer
from beit.evaluation.tokenizer.reconstruct import reconstruct_pictures
from beit.files import AppendedFile, atomic_file, atomic_folder, atomic_stream, write_bytes, write_json, write_text
from beit.image import Preprocessing
from beit.inference.export.job import export
from beit.inference.export.web_page import write_page
from beit.inference.jobs.arrays import ARRAYS
from beit.inference.jobs.chunk import Chunk
from beit.inference.jobs.state import JobState
from beit.inference.jobs.writers import write_rows
from beit.inference.tasks.registry import task_named
from beit.models_torch.conversion import convert
from beit.models_torch.loading import write_safetensors
from beit.models_torch.scene import SceneInference
from beit.reports.gallery import Gallery
from beit.reports.model_card import write_model_card
from beit.reports.report import Section, write_report
from beit.settings.benchmark import BenchmarkJob
from beit.settings.evaluate import EvaluateJob
from beit.settings.export import ExportJob
from beit.settings.finetune import FinetuneJob, LoraSettings
from beit.settings.groups import DataSettings, PictureSettings, RunSettings
from beit.settings.segment import LabelMapSettings
from beit.settings.tokenizer import EvaluateTokenizerJob, ReconstructJob
from beit.tasks.finetune.lora import adapt, save_adapter
from beit.tokenizer import VQKD, DiscreteVAE, DiscreteVAEConfig, KMeansConfig, KMeansTokenizer, VQKDConfig
from beit.weights import write_msgpack
from tests.full_disk import full_disk

SOURCE = Path(beit.__file__).parent
ROOM = 8  # bytes of a file that a full disk still takes
SMALL = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
         "intermediate_size": 32, "vocab_size": 32, "num_labels": 2, "use_relative_position_bias": True}  # fmt: skip
CONFIG = BeitConfig(**SMALL, out_indices=[1, 2, 3, 4])
CODEBOOK = DiscreteVAEConfig(vocab_size=16, hidden_size=4, blocks_per_group=1, groups=2, decoder_input_size=4)

WRITERS = {}


def writer(*files):
    """Take up a function that makes a writer: given a folder for what it needs, it returns what writes into another."""

    def add(make):
        WRITERS[make.__name__] = (make, files)
        return make

    return add


# The ways to write


@writer("files/writing.py")
def text(_):
    return lambda place: write_text(place / "a.txt", "a text of some length")


@writer("files/writing.py")
def raw_bytes(_):
    return lambda place: write_bytes(place / "a", bytes(100))


@writer(
    "files/writing.py", "engine/monitor.py", "engine/monitor_interval.py", "engine/trackers.py", "cli/statistics.py",
)  # fmt: skip
def json_values(_):
    return lambda place: write_json(place / "a.json", {"numbers": list(range(100))})


@writer("files/writing.py")
def whole_file(_):
    def write(place):
        with atomic_file(place / "a") as temporary:
            np.save(temporary.open("wb"), np.zeros(100))

    return write


@writer(
    "files/writing.py", "engine/run.py", "engine/hooks.py", "engine/monitor.py", "engine/torch_backend.py",
    "engine/jax_backend.py", "tasks/benchmark.py", "tasks/tokenizer/kmeans.py",
)  # fmt: skip
def whole_folder(_):
    def write(place):
        with atomic_folder(place / "a") as temporary:
            (temporary / "inside").mkdir()
            (temporary / "inside" / "b").write_bytes(bytes(100))

    return write


@writer("files/writing.py")
def library_in_another_language(_):
    def write(place):
        with atomic_stream(place / "a") as stream:
            torch.save(torch.zeros(100), stream)

    return write


@writer("files/appended.py")
def appended(_):
    def write(place):
        with AppendedFile(place / "a", keep=0) as file:
            file.append(bytes(100))

    return write


@writer("engine/torch_backend.py")
def kernels_of_a_run(_):
    return lambda place: save_choices(place, [{"linear": "torch"}])


@writer("models_torch/loading.py", "models_torch/masked_patch_decoder.py")
def safetensors(_):
    return lambda place: write_safetensors(place / "a.safetensors", {"a": torch.zeros(100)})


@writer("weights/msgpack_file.py")
def msgpack(_):
    return lambda place: write_msgpack(place / "a.msgpack", {"a": np.zeros(100)})


# Folders of models


@writer("hub/saved_options.py")
def config(_):
    return lambda place: CONFIG.save_pretrained(place)


@writer("config/json_form.py")
def config_file(_):
    return lambda place: CONFIG.to_json_file(place / "a.json")


@writer("hub/saved_options.py")
def processor(_):
    return lambda place: BeitImageProcessor().save_pretrained(place)


@writer("hub/saved_options.py")
def processor_file(_):
    return lambda place: BeitImageProcessor().to_json_file(place / "a.json")


@writer("image/processor.py")
def view(_):
    return lambda place: Preprocessing((32, 32), 37).save_pretrained(place)


@writer("models_torch/saving.py")
def torch_model(_):
    return BeitForImageClassification(CONFIG).save_pretrained


@writer("models_flax/loading.py")
def flax_model(_):
    return FlaxBeitForImageClassification(CONFIG).save_pretrained


@writer("models_flax/loading.py")
def flax_model_as_safetensors(_):
    model = FlaxBeitForImageClassification(CONFIG)
    return lambda place: model.save_pretrained(place, safe_serialization=True)


def converted(to, name):
    def make(folder):
        BeitForImageClassification(CONFIG).save_pretrained(folder)
        return lambda place: convert(folder, place / name, to)

    make.__name__ = f"converted_to_{to}"
    return make


for layout, name in (("hf", ""), ("timm", ""), ("flax", ""), ("unilm", "model.pth")):
    writer("models_torch/conversion.py")(converted(layout, name))


@writer("models_torch/scene.py")
def scene_inference(_):
    return SceneInference().save_pretrained


@writer("tokenizer/files.py")
def discrete_vae(_):
    return DiscreteVAE(CODEBOOK).save_pretrained


@writer("tokenizer/files.py")
def vq_kd(_):
    small = {"vocab_size": 16, "code_size": 4, "image_size": 16, "patch_size": 8, "hidden_size": 64}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64, "decoder_layers": 1}
    return VQKD(VQKDConfig(**small, **layers, teacher_size=8)).save_pretrained


@writer("tokenizer/files.py")
def kmeans(_):
    return KMeansTokenizer(KMeansConfig(vocab_size=16, patch_size=8, window=8, image_size=16)).save_pretrained


# Runs


@writer("engine/run_folder.py")
def recipe(_):
    main = SimpleNamespace(is_main_process=True, main_process_first=lambda: io.StringIO())
    job = FinetuneJob(DataSettings("pictures"))
    return lambda place: open_run_folder(job, RunSettings(output=str(place)), main)


@writer("engine/run_folder.py")
def result(_):
    return lambda place: RunFolder(place).write_result({"accuracy": 0.5})


@writer("engine/metrics.py")
def metrics(_):
    def write(place):
        with patch("beit.engine.metrics.SummaryWriter"):  # which writes in a thread of its own
            MetricsLog(RunFolder(place), 0).write(1, "train", {"loss": 1.0})

    return write


@writer("engine/checkpoints.py")
def checkpoint(_):
    module = nn.Linear(10, 10)
    return lambda place: save_checkpoint(place, 1, lambda folder: None, module, 1, {"data": "a"})


@writer("models_torch/adapters.py")
def adapter_of_peft(_):
    peft = pytest.importorskip("peft")
    model = BeitForImageClassification(CONFIG)
    model.add_adapter(peft.LoraConfig(r=2, target_modules=["query"]))
    return model.save_pretrained


@writer("tasks/finetune/lora.py")
def adapter(_):
    model = BeitForImageClassification(CONFIG)
    adapt(model, LoraSettings(rank=2))
    return lambda place: save_adapter(model, place)


@writer("engine/interruption.py")
def divergence(_):
    def write(place):
        try:
            stop_diverged(1, [{"name": "a.png"}], place, place, True)
        except BeitError as error:
            if isinstance(error, StorageError):
                raise

    return write


@writer("data/broken.py")
def broken_pictures(_):
    numbers = count()

    def write(place):
        broken = BrokenPicture("a.png", f"it is broken in place {next(numbers)}")
        BrokenPictures(place / "broken.txt", 100, 0.5).add([broken])

    return write


@writer("reports/report.py")
def report(_):
    return lambda place: write_report(place / "report.html", "title", [Section("a", "b")], "recipe: {}")


@writer("reports/model_card.py")
def model_card(_):
    def write(place):
        write_text(place / "config.json", '{"architectures": ["BeitModel"]}')
        write_model_card(place, "title", "data", "recipe: {}\n", {"accuracy": 0.5})

    return write


@writer("reports/gallery.py")
def gallery(_):
    row = torch.rand(2, 3, 8, 8)
    scene = SimpleNamespace(fixed={"picture": row}, names=["a.png"], predicted=lambda: row)
    return lambda place: Gallery(place, lambda: scene).begin(0)


# Data


@writer("data/tokens.py")
def tokens(_):
    def write(place):
        shutil.rmtree(place, ignore_errors=True)
        TokenWriter(place, {"seed": 0}, (2, 1, 2, 2)).append(np.zeros((2, 2, 2), np.int64))

    return write


@writer("data/tokens.py")
def names(_):
    return lambda place: write_labels_and_names(place, ["a.png", "b\udcff.png"], None)


@writer("data/tokens.py")
def labels(_):
    return lambda place: write_labels_and_names(place, [""], np.zeros(100, np.int64))


# Evaluations


def drawn(folder):
    """Four pictures of two classes, and a mask for each."""
    for number in range(4):
        for kind, mode in (("pictures", "RGB"), ("masks", "L")):
            place = folder / kind / "ab"[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (32, 32), number % 2).save(place / f"{number}.png")
    return PictureSettings(str(folder / "pictures"), workers=0)


def evaluation(option):
    def make(folder):
        BeitForImageClassification(BeitConfig(**SMALL, id2label={0: "a", 1: "b"})).save_pretrained(folder / "model")
        BeitImageProcessor(size=32).save_pretrained(folder / "model")
        data = drawn(folder)
        return lambda place: evaluate(EvaluateJob(str(folder / "model"), data, **{option: str(place / option)}))

    make.__name__ = f"evaluation_{option}"
    return make


def scenes(option):
    def make(folder):
        BeitForSemanticSegmentation(CONFIG).save_pretrained(folder / "model")
        BeitImageProcessor(size=32).save_pretrained(folder / "model")
        data, maps = drawn(folder), LabelMapSettings(str(folder / "masks"))
        return lambda place: evaluate_scenes(
            EvaluateJob(str(folder / "model"), data, label_maps=maps, **{option: str(place / option)})
        )

    make.__name__ = f"scenes_{option}"
    return make


for name in ("output", "predictions"):
    writer("evaluation/result.py")(evaluation(name))
    writer("evaluation/result.py")(scenes(name))


@writer("evaluation/features/kept_features.py")
def kept_features(_):
    train, val = (SetFeatures([np.zeros((4, 8), np.float32)], np.arange(4), np.arange(4), []) for _ in range(2))
    return lambda place: write_features(place / "a.safetensors", ModelFeatures(train, val, 1.0))


@writer("evaluation/features/kept_features.py")
def kept_attentive_scores(_):
    return lambda place: write_attentive(place / "a.json", {"layer": 1}, AttentiveScores(0.5, 1, 5, 0.5, 8))


@writer("evaluation/features/benchmark_files.py")
def benchmark_of_features(_):
    scores = ModelScores([LayerScores(0.5, 1, 0.5, 0.5, 1.0, 0.5)], 1, 1, [])
    result = Benchmark([Measured(raw_pixels(), scores, 1.0, 1.0)], ["a", "b"], 8, 2, [], "cpu", "fp32")
    return lambda place: write_benchmark(place, result, BenchmarkJob(("random",), DataSettings("pictures")))


@writer("evaluation/tokenizer/evaluate.py")
def tokenizer_numbers(folder):
    DiscreteVAE(CODEBOOK).save_pretrained(folder / "tokenizer")
    data, tokenizer = drawn(folder), str(folder / "tokenizer")
    return lambda place: evaluate_tokenizer(
        EvaluateTokenizerJob(tokenizer, image_size=16, data=data, output=str(place / "numbers.json"))
    )


@writer("evaluation/tokenizer/reconstruct.py")
def reconstructions(folder):
    DiscreteVAE(CODEBOOK).save_pretrained(folder / "tokenizer")
    data, tokenizer = drawn(folder), str(folder / "tokenizer")
    return lambda place: reconstruct_pictures(
        ReconstructJob(tokenizer, image_size=16, data=data, output=str(place / "shown.png"))
    )


# Predictions and exports


@writer("inference/jobs/state.py")
def job_record(_):
    return lambda place: JobState(place / "out.jsonl", False).begin({"model": "a"})


@writer("inference/jobs/state.py")
def job_chunk(_):
    chunk = Chunk(0, 0, columns=["label"], rows=[{"picture": "a.png", "label": "cat"}], files={"a.png": bytes(100)})
    return lambda place: JobState(place, True).keep(chunk)


def rows(form):
    def make(_):
        answer = {"picture": "a.png", "predictions": [{"label": "cat", "probability": 0.5}], "embedding": [0.5] * 8}
        task = task_named("embed" if form in ARRAYS else "classify")
        lines = [json.dumps(answer) + "\n"] * 10
        return lambda place: write_rows(place / "out", lines, ["label_1"], task, task.options(), form)

    make.__name__ = f"rows_{form}"
    return make


for form in ("jsonl", "csv", "parquet", *ARRAYS):
    writer("inference/jobs/writers.py", "inference/jobs/arrays.py")(rows(form))


@writer("inference/export/job.py", "inference/export/card.py", "inference/export/torch_file.py")
def exported(folder):
    BeitForImageClassification(CONFIG).save_pretrained(folder / "model")
    BeitImageProcessor(size=32).save_pretrained(folder / "model")
    return lambda place: export(ExportJob(str(folder / "model"), "torch", str(place / "out")))


@writer("inference/export/web_page.py")
def page_files(_):
    return lambda place: write_page(place / "out", "title")


@contextmanager
def quiet():
    """What is printed meanwhile goes nowhere; it would go to a file of pytest's, on the full disk too."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def content(place):
    """Every file below a folder, with what is in it."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.e2e
def test_a_full_disk(tmp_path, name):
    (tmp_path / "needed").mkdir()
    (tmp_path / "place").mkdir()
    write = WRITERS[name][0](tmp_path / "needed")
    with quiet():
        write(tmp_path / "place")
    before = content(tmp_path / "place")
    assert before
    if name in ("tokens", "appended", "metrics", "exported"):  # nothing earlier is replaced
        shutil.rmtree(tmp_path / "place")
        (tmp_path / "place").mkdir()
        before = {}
    with quiet(), full_disk(ROOM), pytest.raises(StorageError) as error:
        write(tmp_path / "place")
    at = f"cannot write {tmp_path}/"
    assert str(error.value).startswith((f"{at}place", f"{at}.place.lock"))  # the lock of an output lies beside it
    assert "; free space" in str(error.value)
    assert {name: held for name, held in content(tmp_path / "place").items() if held} == before


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.e2e
def test_the_mode_is_that_of_the_umask(tmp_path, name):
    (tmp_path / "needed").mkdir()
    write = WRITERS[name][0](tmp_path / "needed")
    umask = 0o027  # neither that of most machines nor what temporary files have
    before = os.umask(umask)
    try:
        with quiet():
            write(tmp_path / "place")
    finally:
        os.umask(before)
    written = [tmp_path / "place", *(tmp_path / "place").rglob("*")]
    assert len(written) > 1
    for path in written:
        expected = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_an_index_that_cannot_be_kept_is_made_again(tmp_path):
    save_arrays(tmp_path / "a.npz", {"a": np.zeros(100)})
    with full_disk(ROOM):
        save_arrays(tmp_path / "a.npz", {"a": np.ones(100)})
    assert load_arrays(tmp_path / "a.npz", ["a"])["a"].sum() == 0
    assert os.listdir(tmp_path) == ["a.npz"]


# No writer is missed

ELSEWHERE = {
    "hub/kept.py": "tests/hub/test_kept.py has a server and a full disk",
    "hub/download.py": "TestUrls in tests/hub/test_download.py has a server and a full disk",
    "data/sources/index_cache.py": "tested above: it goes on without a cache",
    "inference/export/web.py": "a page has its name when it is whole: tests/inference/export/test_web.py",
    "hub/card.py": "what is pushed lies in a temporary folder: tests/hub/test_card.py",
    "models_torch/kernels/fastest.py": "tests/models_torch/kernels/test_fastest.py: it goes on without what was timed",
}
PAST_FILES = {
    "engine/jax_backend.py": "Orbax writes into the folder of a checkpoint, which gets its name when it is whole",
    "inference/export/onnx_file.py": "onnxruntime writes into the folder of an export, which gets its name when whole",
    "inference/export/openvino_file.py": "OpenVINO does",
    "models_torch/scene.py": "the scores of a large picture lie in a temporary file without a name",
    "engine/metrics.py": "TensorBoard writes its events in a thread of its own",
}
WAYS = {"atomic_file", "atomic_folder", "atomic_stream", "AppendedFile", "move_into_place", "write_bytes", "write_json",
        "write_text", "write_safetensors", "write_msgpack"}  # fmt: skip
METHODS = {"write_text", "write_bytes", "touch", "truncate", "tofile", "symlink_to", "hardlink_to", "rename"}
FUNCTIONS = {
    *("np.save", "np.savez", "np.savez_compressed", "np.memmap", "torch.save", "torch.export.save"),
    *("torch.onnx.export", "json.dump", "pickle.dump", "os.replace", "os.rename", "os.link", "os.symlink"),
    *("os.truncate", "shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copyfileobj", "shutil.copytree"),
    *("shutil.move", "openvino.save_model", "parquet.ParquetWriter", "checkpointer.save", "save_file"),
    *("SummaryWriter", "quantize_dynamic", "tempfile.TemporaryFile", "tempfile.NamedTemporaryFile", "tempfile.mkstemp"),
}


def writes(call):
    """Whether a call writes a file, as far as it shows."""
    name, method = ast.unparse(call.func), call.func.attr if isinstance(call.func, ast.Attribute) else None
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    words = [value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    if name == "open" or method == "open":
        return any(set(word) <= set("rwaxbt+") and set(word) & set("wax+") for word in words)
    picture = method == "save" and ("PNG" in words or any(keyword.arg == "format" for keyword in call.keywords))
    return picture or name in FUNCTIONS or (method in METHODS and name not in WAYS)


def stray_writers(text):
    """The calls of a source text that write a file neither whole by `beit.files` nor in memory."""
    tree = ast.parse(text)
    found = {node for node in ast.walk(tree) if isinstance(node, ast.Call) and writes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and any(name in ast.unparse(item) for item in node.items for name in WAYS):
            found -= set(ast.walk(node))
        if isinstance(node, ast.FunctionDef):
            memory = {ast.unparse(part.targets[0]) for part in ast.walk(node)
                      if isinstance(part, ast.Assign) and ast.unparse(part.value) == "io.BytesIO()"}  # fmt: skip
            found -= {call for call in ast.walk(node) if isinstance(call, ast.Call)
                      and any(ast.unparse(argument) in memory for argument in call.args)}  # fmt: skip
    return sorted(f"line {call.lineno}: {ast.unparse(call)}" for call in found)


def sources():
    """Every source file of the package, by its path."""
    return {path.relative_to(SOURCE).as_posix(): path.read_text() for path in SOURCE.rglob("*.py")}


@pytest.mark.e2e
def test_everything_is_written_by_way_of_files():
    stray = {path: found for path, text in sources().items() if (found := stray_writers(text))}
    assert {
        path: found for path, found in stray.items() if path not in PAST_FILES and not path.startswith("files/")
    } == {}
    assert PAST_FILES.keys() <= stray.keys(), "an exception that is none any more"


@pytest.mark.parametrize(
    "line",
    [
        'path.open("w")', 'open(path, mode="ab")', 'path.write_text("a")', "np.save(path, a)", "torch.save(a, path)",
        'row.save(path, format="PNG")', "os.replace(a, b)", "save_file(a, path)", "json.dump(a, file)",
    ],
)  # fmt: skip
def test_a_stray_writer_is_found(line):
    assert stray_writers(f"def f():\n    {line}") == [f"line 2: {ast.unparse(ast.parse(line))}"]
    assert stray_writers(f"with atomic_file(a) as path:\n    {line}") == []


def test_no_writer_is_missing_in_the_table():
    def imports_a_way(text):
        imported = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom))
        return any(name.name in WAYS for node in imported for name in node.names)

    writing = {path for path, text in sources().items() if imports_a_way(text) and not path.endswith("__init__.py")}
    listed = {path for _, files in WRITERS.values() for path in files}
    assert writing - listed - ELSEWHERE.keys() == set()
    assert listed | ELSEWHERE.keys() <= sources().keys()
