"""Small files of ours that are damaged: the error names the file, what was expected, and what to do."""

import ast
from pathlib import Path

import pytest

import beit
from beit import BeitConfig, BeitForImageClassification, BeitImageProcessor, DiscreteVAE, DiscreteVAEConfig
from beit.data import BrokenPicture, BrokenPictures, StoredTokens
from beit.engine.checkpoints import latest_checkpoint, restore_module
from beit.engine.metrics import MetricsLog, read_metrics
from beit.engine.run_folder import RunFolder
from beit.engine.run_state import read_state
from beit.errors import BeitError, CheckpointError, ConfigError, DataError
from beit.files import parse_json, read_json, read_yaml
from beit.inference.exported import load_exported
from beit.inference.jobs.state import JobState
from beit.models_torch.scene import SceneInference
from beit.weights import open_checkpoint

SOURCE = Path(beit.__file__).parent
DAMAGE = [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null"]


@pytest.mark.parametrize("content", DAMAGE)
def test_what_is_no_object(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json is not readable JSON \(.*\); expected a list of pets; feed them$"):
        read_json(tmp_path / "a.json", "a list of pets", "feed them", DataError)
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.yaml is not readable YAML \(.*\); expected a list of pets; feed them$"):
        read_yaml(tmp_path / "a.yaml", "a list of pets", "feed them")


def test_what_is_not_there(tmp_path):
    for path in (tmp_path / "a.json", tmp_path / "a.json" / "b"):
        with pytest.raises(ConfigError, match=r"does not exist; expected a list of pets$"):
            read_json(path, "a list of pets")
        (tmp_path / "a.json").write_text("")
    with pytest.raises(ConfigError, match=r"is not readable JSON \(.*it is a folder.*\); expected pets; fetch"):
        read_json(tmp_path, "pets")


def test_what_is_too_large(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigError, match=r"a\.json .*it has 1099511627776 bytes; expected at most 16777216"):
        read_json(tmp_path / "a.json", "pets")


def test_what_is_sound(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, null]}')
    (tmp_path / "a.yaml").write_text("a: [1, null]")
    assert read_json(tmp_path / "a.json", "it") == read_yaml(tmp_path / "a.yaml", "it", "") == {"a": [1, None]}
    assert parse_json('{"a": 1}', "a text", "it") == {"a": 1}


CONFIG = BeitConfig(image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=32)  # fmt: skip
CODEBOOK = DiscreteVAEConfig(vocab_size=16, hidden_size=4, blocks_per_group=1, groups=2, decoder_input_size=4)

# name of the file -> (writes the folder that it is in, reads it, remedy)
FILES = {
    "config.json": (CONFIG.save_pretrained, BeitConfig.from_pretrained, "fetch or save it again"),
    "model/config.json": (
        lambda folder: BeitForImageClassification(CONFIG).save_pretrained(folder / "model"),
        lambda folder: open_checkpoint(folder / "model"),
        "fetch or save it again",
    ),
    "preprocessor_config.json": (
        BeitImageProcessor().save_pretrained, BeitImageProcessor.from_pretrained, "fetch or save it again",
    ),
    "tokenizer/config.json": (
        lambda folder: DiscreteVAE(CODEBOOK).save_pretrained(folder / "tokenizer"),
        lambda folder: DiscreteVAE.from_pretrained(folder / "tokenizer"),
        "fetch or save it again",
    ),
    "scene_inference.json": (
        SceneInference().save_pretrained,
        lambda folder: SceneInference.from_pretrained(folder, (32, 32)),
        "train again",
    ),
    "facts.json": (lambda folder: None, StoredTokens, "encode again"),
    "recipe.yaml": (lambda folder: None, lambda folder: read_state(RunFolder(folder)), "restore it, or choose another"),
    "result.json": (lambda folder: None, lambda folder: RunFolder(folder).read_result(), "remove it, and the same"),
    "step_1/state.json": (
        lambda folder: (folder / "step_1").mkdir(),
        lambda folder: restore_module(folder / "step_1", None, {}),
        "remove the folder",
    ),
    ".predict/job.json": (
        lambda folder: (folder / ".predict").mkdir(),
        lambda folder: JobState(folder, True).begin({}),
        "to start afresh",
    ),
    ".predict/chunks/00000000-00000000-last.jsonl": (
        lambda folder: (folder / ".predict/chunks").mkdir(parents=True),
        lambda folder: JobState(folder, True).columns(),
        "remove it, and the same command makes it again",
    ),
    "monitor.json": (
        lambda folder: None,
        lambda folder: read_json(RunFolder(folder).monitor, "how often the monitor measures", "remove it"),
        "remove it",
    ),
    "export.json": (lambda folder: None, load_exported, "export the model again"),
}  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"{", b"[1]"])
@pytest.mark.parametrize("name", FILES)
def test_every_file_of_ours(tmp_path, name, content):
    write, read, remedy = FILES[name]
    write(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BeitError) as error:
        read(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / name} is not readable")
    assert remedy in str(error.value)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path):
    (tmp_path / "step_00000001").mkdir()
    (tmp_path / "step_00000001" / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"all checkpoints in .* are damaged"):
        latest_checkpoint(tmp_path)


READ_ELSEWHERE = {
    "cli/completion.py": "options that this process has listed, on no disk",
    "data/sources/folder_index.py": "what a cached index passed over, in an archive with a checksum",
    "data/sources/tar/index.py": "what a cached index passed over",
    "data/sources/hub/index.py": "what the cache of the hub says",
    "engine/failure_detection.py": "news between processes, on no disk",
    "engine/run_folder.py": "the recipe of now, made a moment ago",
    "evaluation/features/kept_features.py": "within a file of tensors; one that is damaged is computed again",
    "files/lock.py": "a lock, which is made again if it is damaged",
    "inference/jobs/arrays.py": "lines of chunks, whose first has been read",
    "inference/jobs/chunk.py": "chunks between processes, on no disk",
    "inference/jobs/state.py": "arguments as JSON has them, on no disk",
    "inference/jobs/writers.py": "lines of chunks, whose first has been read",
    "tasks/tokenizer/token_identity.py": "settings as JSON has them, on no disk",
    "weights/storage/lazy_tensor.py": "the header of a safetensors file, whose every value is checked",
}


def test_nothing_else_reads_json_or_yaml():
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.loads", "json.load", "yaml.safe_load"):
                found.add(path.relative_to(SOURCE).as_posix())
    assert found - {"files/strict.py"} == READ_ELSEWHERE.keys()


OWN_STATE = {
    "metrics.jsonl": (b'\xff\n5\n[]\n{"step": "a"}\n{"split": "train"}\n{"step": 1, "split": "train", "loss": "x"}\n'
                      b'{"step": 1, "split": "train", "loss": 2.0}\n{"step": 2, "spl'),
    "broken.txt": b"\xff\xfe\0\nb.png is broken\n",
}  # fmt: skip


def test_metrics_and_lists_are_healed(tmp_path):
    for name, content in OWN_STATE.items():
        (tmp_path / name).write_bytes(content)
    folder = RunFolder(tmp_path)
    assert read_metrics(folder.metrics) == [{"step": 1, "split": "train", "loss": 2.0}]
    with MetricsLog(folder, 1) as log:
        log.write(2, "train", {"loss": 1.0})
    assert [line["step"] for line in read_metrics(folder.metrics)] == [1, 2]
    broken = BrokenPictures(folder.broken, 10, 1.0)
    broken.add([BrokenPicture("a", "another")])
    assert len(broken) == 3
    assert folder.broken.read_bytes().endswith(b"another\n")


@pytest.mark.parametrize(
    "recipe", [b"", b"\0" * 100, b"train: {batch_size: 4", b"a: 1", b"train: 5", b"train: {}\nrun: x"]
)
def test_a_damaged_recipe_is_named(tmp_path, recipe):
    (tmp_path / "recipe.yaml").write_bytes(recipe)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "split": "train", "images_per_second": 5.0}\n')
    with pytest.raises(ConfigError, match=r"recipe\.yaml.*choose another run\.output"):
        read_state(RunFolder(tmp_path))


@pytest.mark.parametrize("content", ['{"a": "b"}', '{"a": [1]}', '{"a": {"b": 1}}'])
def test_a_result_without_numbers_is_named(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(ConfigError, match=r"result\.json has .* for a; expected a number; remove it"):
        RunFolder(tmp_path).read_result()


@pytest.mark.parametrize(
    "content", ['{"x": 1}', '{"arguments": {}}', '{"arguments": {}, "ended": 5}', '{"arguments": 1, "ended": null}',
                '{"arguments": {}, "ended": {"pictures": 1, "broken": [1]}}'],
)  # fmt: skip
def test_a_damaged_record_of_a_job_is_named(tmp_path, content):
    (tmp_path / ".predict").mkdir()
    (tmp_path / ".predict" / "job.json").write_text(content)
    with pytest.raises(ConfigError, match=r"job\.json holds .*; remove .* to start afresh"):
        JobState(tmp_path, True).begin({})


@pytest.mark.parametrize("content", ['{"step": 1' + "9" * 20 + "}", '{"step": null}', '{"step": [[[[[1]]]]]}', "{}"])
def test_a_damaged_state_of_a_checkpoint_is_named(tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"state\.json .*remove the folder|made with"):
        restore_module(tmp_path, None, {"data": "x"})


def test_what_a_killed_prediction_left_is_removed(tmp_path):
    made = tmp_path / "made"
    (made / "a").mkdir(parents=True)
    for name in (".b.png.1234.tmp", "a/.c.png.99.tmp", "kept.png", ".mine.tmp"):
        (made / name).touch()
    state = JobState(made, True)
    state.begin({})
    assert {path.name for path in made.rglob("*") if path.is_file()} == {"kept.png", ".mine.tmp", "job.json"}
