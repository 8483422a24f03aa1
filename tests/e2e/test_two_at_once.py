"""Two processes for one output: the first goes on as if alone, and the second says who holds it."""

import time
from pathlib import Path

import pytest
from PIL import Image

from beit.files import locked
from tests.e2e.small import FINETUNE, PICTURES, TOKENIZER, beit, losses, start

TOKENS, MODEL = "beit/nano-cifar10-tokens", "beit/nano-cifar10"
RUN = ["finetune", *FINETUNE, "--train.max_steps=60", "--run.log_every=1", "--run.report=false"]


def test_a_second_run_in_a_folder_is_refused(tmp_path):
    first = start(*RUN, f"--run.output={tmp_path}/run")
    deadline = time.monotonic() + 60
    while not losses(tmp_path / "run") and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    second = beit(*RUN, f"--run.output={tmp_path}/run")
    assert second.returncode == 1
    assert f"is being written by process {first.pid} on " in second.stderr
    assert second.stderr.count("\n") == 1
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum('"train"' in line for line in lines) == 60
    assert not (tmp_path / "run" / ".lock").exists()


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


PREDICT = ["predict", MODEL, "{picture}", "--device=cpu", "--task"]
COMMANDS = {
    "file": ([*PREDICT, "embed", "--output={output}.jsonl"], ".{name}.jsonl.predict/lock"),
    "folder": ([*PREDICT, "attend", "--output={output}"], "{name}/.predict/lock"),
    "tokens": (["tokenizer", "encode", f"--tokenizer={TOKENS}", "--data.path=digits:test", "--image_size=32",
                "--output={output}"], "{name}/.lock"),
    "tokenizer": (["tokenizer", "train", *PICTURES, *TOKENIZER, "--run.output={output}"], "{name}/.lock"),
    "k-means": (["tokenizer", "cluster", *PICTURES, "--image_size=16", "--model.vocab_size=32", "--model.patch_size=4",
                 "--clustering.windows=200", "--run.output={output}"], "{name}/.lock"),
    "conversion": (["convert", MODEL, "{output}", "--to=hf"], ".{name}.lock"),
    "export": (["export", MODEL, "--to=torch", "--output={output}"], ".{name}.lock"),
    "benchmark": (["benchmark", MODEL, "--data.path=digits:train", "--output={output}"], ".{name}.lock"),
}  # fmt: skip


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_output_has_a_lock(tmp_path, picture, kind):
    command, lock = COMMANDS[kind]
    output = tmp_path / "made"
    arguments = [part.format(picture=picture, output=output) for part in command]
    with locked(tmp_path / lock.format(name="made"), output, "or not"):
        done = beit(*arguments)
    assert done.returncode == 1, done.stdout
    assert "is being written by process" in done.stderr, done.stderr
    assert not [path for path in Path(output).rglob("*") if path.is_file()]
