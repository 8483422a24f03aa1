"""Command lines of jobs that take seconds."""

import json
import os
import time
from pathlib import Path

from tests.fork_server import fork_server

PICTURES = ["--data.path=digits:train", "--data.workers=0", "--augment.flip=0", "--augment.crop_scale=[0.6, 1.0]"]
MODEL = [
    "--model.size=tiny", "--model.image_size=16", "--model.patch_size=4", "--model.hidden_size=32",
    "--model.num_hidden_layers=2", "--model.num_attention_heads=4", "--model.intermediate_size=64",
]  # fmt: skip
CODEBOOK = ["vocab_size=32", "hidden_size=8", "blocks_per_group=1", "groups=2", "decoder_input_size=8"]
TOKENIZER = [f"--codebook.{option}" for option in CODEBOOK] + ["--image_size=8", "--optim.lr=1e-2"]
PRETRAIN = [
    *PICTURES, *MODEL, "--mask.count=7", "--mask.min_block=2", "--model.drop_path_rate=0.2",
    *(f"--tokenizer.codebook.{option}" for option in CODEBOOK),
    "--tokenizer.train.max_steps=20", "--tokenizer.train.batch_size=32",
    "--optim.lr=1.5e-3", "--optim.warmup_steps=5", "--train.batch_size=32",
]  # fmt: skip
# Without the quality monitor and the gallery, which change nothing of a run: tests of both show it.
UNWATCHED = ["--monitor.every=0", "--gallery.pictures=0"]
# 200 of the digits to learn from: a pre-training ends with a look at the visual tokens of all its pictures.
FEW = ["--data.per_class=20"]
FINETUNE = [*PICTURES, *MODEL, "--optim.warmup_steps=5", "--optim.lr=1e-2", "--optim.layer_decay=1.0"]


def beit(*arguments, **options):
    """Run the command line in its own process, on one thread."""
    return fork_server().run(*arguments, **options)


def start(*arguments, **options):
    """Start the command line without waiting for it."""
    return fork_server().start(*arguments, **options)


def assert_stops_and_saves(arguments, run, number, status):
    """Send a signal to every process of a job that trains: it saves the step that it was at, and says so."""
    process = start(*arguments, "--run.log_every=1", "--run.report=false", start_new_session=True)
    deadline = time.monotonic() + 120
    while not losses(run) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    stopped = max(losses(run))
    assert f"after step {stopped} of 2000; the same command continues it" in output
    assert [path.name for path in (Path(run) / "checkpoints").iterdir()] == [f"step_{stopped:08d}"]


def losses(run):
    """Return {step: loss} of a run's training lines."""
    return {line["step"]: line["loss"] for line in _training(run)}


def metric(run, name):
    """Return a number of every training line of a run."""
    return [line[name] for line in _training(run)]


def _training(run):
    path = Path(run) / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []
    return [line for line in lines if line["split"] == "train"]
