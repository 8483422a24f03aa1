"""Tests mirror the source: every file has a test file of its name, or its line here says which test holds it and why.

`src/beit/a/b.py` is tested by `tests/a/test_b.py`, or, with the other files of its folder, by `tests/a/test_a.py`.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE, TESTS = ROOT / "src" / "beit", ROOT / "tests"

# (folder of the source, its files, the test file that holds them, why it has another name)
HELD_ELSEWHERE = [
    ("", "catalog", "config/test_config.py", "presets are seen through the configs that they make"),
    ("", "outputs", "test_all_models.py", "the models return them"),
    (
        "cli",
        "about about_data about_files about_scenes about_weights",
        "cli/test_info.py",
        "the command prints every account",
    ),
    ("cli", "benchmark", "e2e/test_benchmark.py", "the command is its whole job"),
    ("cli", "distill", "tasks/test_distill.py", "the command is its whole job"),
    ("cli", "demo", "e2e/test_demo.py", "the command is its whole job"),
    ("cli", "evaluate", "e2e/test_evaluate.py", "the command is its whole job"),
    ("cli", "export", "inference/test_exported.py", "the command is its whole job"),
    ("cli", "finetune", "e2e/test_finetune.py", "the command is its whole job"),
    ("cli", "parser parser_errors", "cli/test_main.py", "every command parses through them"),
    ("cli", "predict", "e2e/test_predict.py", "the command is its whole job"),
    ("cli", "pretrain", "e2e/test_whole_job.py", "the command is its whole job"),
    ("cli", "segment", "e2e/test_segment.py", "the command is its whole job"),
    ("cli", "serve", "service/test_server.py", "the command is the server"),
    ("cli", "tokenizer", "e2e/test_tokenizers.py", "the command is its whole job"),
    ("cli", "watch", "e2e/test_watching.py", "it watches a run"),
    ("data", "splits", "data/real_files/test_splits.py", "splits as people have them"),
    (
        "data",
        "label_cells label_columns label_names label_rows",
        "data/test_label_file.py",
        "parts of one file",
    ),
    ("data/sources/parquet", "columns", "data/real_files/test_label_tables.py", "columns as people have them"),
    ("data/sources/parquet", "split_column", "data/real_files/test_splits.py", "splits as people have them"),
    ("data/sources/parquet", "saved", "data/real_files/test_splits.py", "a folder of save_to_disk may hold splits"),
    ("inference/runners", "wanted", "service/test_bounds.py", "a service gives computations up"),
    ("data/sources/hub", "index", "data/sources/hub/test_shards.py", "an index is what its shards are found by"),
    ("engine", "backend loop run task", "tasks/test_new_task.py", "seen through a task that runs"),
    ("engine", "interruption", "e2e/test_run_safety.py", "seen in runs that go wrong"),
    ("engine", "failure_detection", "e2e/test_lost_process.py", "needs several processes"),
    ("engine", "forecast timed_steps", "cli/test_forecast.py", "a forecast is what a dry run prints"),
    ("engine", "jax_backend jax_model jax_steps", "e2e/test_jax_training.py", "compared with runs in torch"),
    ("engine", "moving_average", "e2e/test_finetune.py", "an average of a training"),
    ("engine", "recorded", "engine/test_automatic.py", "a run goes on with what was chosen"),
    ("engine", "run_state", "e2e/test_watching.py", "what is watched of a run"),
    ("engine", "sharding", "e2e/test_sharding.py", "needs several processes"),
    (
        "evaluation/classification",
        "evaluation",
        "evaluation/classification/test_class_evaluation.py",
        "the base of an evaluation of classes",
    ),
    (
        "evaluation/classification",
        "measure one_pass problem_type sections",
        "evaluation/classification/test_evaluate.py",
        "steps of one evaluation",
    ),
    ("evaluation/features", "benchmark benchmark_files benchmark_inputs", "e2e/test_benchmark.py", "a whole job"),
    ("evaluation/segmentation", "evaluate measure", "e2e/test_segment.py", "needs a model that was trained"),
    ("evaluation/tokenizer", "drawings evaluate", "e2e/test_tokenizers.py", "needs a trained one"),
    ("files", "appended", "files/test_writers.py", "every writer meets a full disk through it"),
    ("hub", "dataset", "data/sources/hub/test_shards.py", "the hub of the tests lists it"),
    ("hub", "hub_errors", "hub/test_repository.py", "errors are met while files are fetched"),
    (
        "inference/export",
        "card check examples model onnx_file openvino_file prepared program",
        "inference/export/test_job.py",
        "one body over every target and model",
    ),
    ("inference/export", "web_check web_model web_page web_scene", "inference/export/test_web.py", "one folder"),
    ("inference", "exported_engines", "inference/test_exported.py", "engines of the exported files"),
    (
        "inference",
        "loading pictures",
        "inference/test_predictor.py",
        "every layout and form of picture is opened there",
    ),
    ("inference/jobs", "arrays", "inference/tasks/test_embed.py", "the files of embeddings"),
    (
        "inference/jobs",
        "chunk frames inputs job pipeline ray_engine state writers",
        "e2e/test_predict.py",
        "whole jobs",
    ),
    (
        "inference/runners",
        "embedding loaded reconstruction runner scenes torch_runner",
        "inference/test_predictor.py",
        "a predictor is asked, whatever runs behind it",
    ),
    (
        "inference/tasks",
        "attend classify reconstruct segment",
        "inference/test_predictor.py",
        "a task is what a predictor answers",
    ),
    ("inference/tasks", "folder", "inference/tasks/test_neighbours.py", "neighbours are searched in one"),
    ("inference/tasks", "nearest", "inference/tasks/test_neighbours.py", "the search of neighbours"),
    ("inference/tasks", "layers", "inference/tasks/test_embed.py", "embeddings are of every layer and pooling"),
    ("inference/tasks", "drawing task", "e2e/test_new_predictor_task.py", "a task of the test's own goes through them"),
    ("inference/tasks", "options", "inference/tasks/test_registry.py", "the registry lists the options of every task"),
    (
        "models_flax",
        "attention backbone base checks classification embeddings encoder kernels layers masked_image_modeling model "
        "pretrained tracing",
        "test_all_models.py",
        "one body over every model of both frameworks, beside parity/test_flax.py",
    ),
    ("models_flax", "feature_pyramid labels upernet", "models_flax/test_segmentation.py", "parts of segmentation"),
    ("models_flax", "tree", "models_flax/test_loading.py", "trees are what is loaded"),
    (
        "models_torch",
        "backbone base classification embeddings encoder feature_pyramid labels "
        "masked_image_modeling model pretrained segmentation upernet",
        "test_all_models.py",
        "one body over every model of both frameworks, beside the recorded cases of parity",
    ),
    (
        "models_torch/kernels",
        "choice",
        "models_torch/kernels/test_linear.py",
        "products are compared with their gradients, as they are chosen",
    ),
    ("models_torch", "data2vec", "parity/test_data2vec.py", "compared with recorded outputs"),
    ("models_torch", "placement", "habits/test_saving.py", "what users of transformers pass, both ways"),
    ("models_torch", "adapters", "habits/test_adapters.py", "the methods of transformers, on both"),
    ("models_torch", "derived", "habits/test_derived.py", "classes that users derive"),
    ("models_torch", "published_methods timm_methods", "habits/test_methods.py", "what users of other libraries call"),
    (
        "models_torch",
        "with_transformers",
        "habits/test_pipelines.py",
        "models in pipelines, beside e2e/test_transformers_trainer.py",
    ),
    ("models_torch", "tracing", "models_torch/test_graphs.py", "seen by compilers"),
    ("models_torch", "conversion", "parity/test_round_trips.py", "a conversion is what comes back"),
    ("reports", "gallery", "e2e/test_gallery.py", "needs a run"),
    ("tasks", "benchmark", "e2e/test_benchmark.py", "a whole job"),
    ("tasks", "demo", "e2e/test_demo.py", "a whole job"),
    ("tasks", "encode", "e2e/test_tokenizers.py", "needs a trained tokenizer"),
    ("tasks/finetune", "jax_loss", "e2e/test_jax_training.py", "compared with runs in torch"),
    ("tasks/finetune", "lora task", "e2e/test_finetune.py", "a whole job"),
    ("tasks/pretrain", "start", "tasks/pretrain/test_task.py", "steps of making the task"),
    ("tasks/pretrain", "jax_loss", "e2e/test_jax_training.py", "compared with runs in torch"),
    ("tasks/segment", "pixel_counts task", "e2e/test_segment.py", "a whole job"),
    ("tasks/tokenizer", "dvae token_identity vq_kd", "e2e/test_tokenizers.py", "whole jobs of both kinds"),
    ("tasks/tokenizer", "kmeans", "e2e/test_kmeans.py", "a whole job"),
    ("weights", "adapter", "habits/test_peft.py", "adapters are files of peft"),
    ("weights", "dalle", "parity/test_dalle.py", "compared with the recorded model"),
    (
        "weights",
        "flax huggingface layouts original state_dict",
        "parity/test_round_trips.py",
        "a table of names is right when a checkpoint comes back",
    ),
    ("weights/pickles", "globals machine", "weights/pickles/test_files.py", "what interprets a file"),
    ("weights/storage", "held_tensor", "habits/test_saving.py", "a state dict in the place of files"),
    ("weights/storage", "cursor", "weights/storage/test_lazy_tensor.py", "the place of a tensor while a file is read"),
]


def sources():
    """The files of the source that hold code of their own, relative to `src/beit`."""
    files = (path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
    return {path for path in files if path.name not in ("__init__.py", "__main__.py")}


def named_after(source):
    """The test files that a source file may have for its name: its own, and that of its folder."""
    folder = source.parent
    return [TESTS / folder / f"test_{name}.py" for name in (source.stem, folder.name) if name]


def listed():
    return [Path(folder) / f"{name}.py" for folder, names, *_ in HELD_ELSEWHERE for name in names.split()]


def test_every_source_file_has_a_test():
    without = {path for path in sources() if not any(test.is_file() for test in named_after(path))}
    assert len(listed()) == len(set(listed())), "a file is listed twice"
    assert sorted(map(str, without - set(listed()))) == [], "write its test, or say in HELD_ELSEWHERE what holds it"
    assert sorted(map(str, set(listed()) - without)) == [], "gone, or has a test of its name: take its line out"


def test_what_holds_them_is_there():
    assert [test for _, _, test, _ in HELD_ELSEWHERE if not (TESTS / test).is_file()] == []
