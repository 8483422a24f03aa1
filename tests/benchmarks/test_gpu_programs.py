"""The programs for a GPU, in small on a CPU: every part runs, and fails alone."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from beit import BeitConfig, BeitForMaskedImageModeling
from beit.geometry import Grid


def test_every_part_of_the_gpu_program_fails_alone(program, tmp_path, monkeypatch, capsys):
    gpu, result = program("gpu"), tmp_path / "gpu.json"
    answers = {"heads": {"relative_error": 0.0}, "answers": {"failed": "out of memory"}, "tokenizer": {"ms": 1.0}}
    states, limits = [], []

    def measure(name, tiny, seconds):
        states.append(len(json.loads(result.read_text())["parts"]) if result.exists() else 0)
        limits.append(seconds)
        return answers[name]

    monkeypatch.setattr(gpu, "measure", measure)
    assert gpu.run(list(answers), True, 8, result) == ["answers"]
    assert limits == pytest.approx([240, 240, 480], abs=10), "a part that hangs leaves time for the others"
    assert json.loads(result.read_text())["parts"] == answers
    assert states == [0, 1, 2], "written after every part"
    assert gpu.run(["heads"], True, 0, result) == ["heads"]
    assert "the 0 minutes are over" in capsys.readouterr().out


def test_the_headline_of_the_gpu_program_has_its_minutes(program, tmp_path, monkeypatch):
    gpu, limits = program("gpu"), {}
    monkeypatch.setattr(gpu, "measure", lambda name, tiny, seconds: limits.update({name: seconds}) or {})
    gpu.run(["headline", "heads", "answers"], True, 8, tmp_path / "gpu.json", of_headline=3)
    assert list(limits) == ["heads", "answers", "headline"], "it comes last"
    assert list(limits.values()) == pytest.approx([150, 300, 480], abs=10), "and has what the others leave"
    gpu.run(["headline"], True, 8, tmp_path / "gpu.json", of_headline=3)
    assert limits["headline"] == pytest.approx(480, abs=10)


def test_numbers_of_the_gpu_program_beside_what_is_hoped_for(program):
    gpu = program("gpu")
    step = {"with stored tokens": {"images_per_second": 900.0, "tflops": 400.0}}
    found = {
        "pretraining": {"128 plain": step, "256 plain": {"failed": "out of memory"}, "seconds": 61.5},
        "peers": {"transformers": "5.0", "128": {"images_per_second": 600.0}, "seconds": 20.0},
        "attention": {"memory_ratio": 0.31, "seconds": 9.0},
    }
    beside = gpu.beside_hopes(found, "NVIDIA H100 80GB HBM3")
    assert {name: pair["measured"] for name, pair in beside.items()} == {
        "utilisation": 0.404, "times transformers": 1.5, "memory of attention": 0.31,
    }  # fmt: skip
    assert gpu.beside_hopes(found, "of another maker").keys() == beside.keys() - {"utilisation"}
    failed = {name: {"failed": "out of memory"} for name in found}
    assert gpu.beside_hopes(failed, "NVIDIA A100-SXM4-80GB") == {}
    assert gpu.peak_of("NVIDIA A100-SXM4-80GB") == [312e12]


def test_the_ways_of_attention_that_are_measured_are_the_same(program):
    steps, config = program("gpu_steps"), BeitConfig(hidden_size=32, num_attention_heads=4)
    contexts = [step() for step in steps.attention_ways(config, Grid(4, 5), 2, torch.device("cpu")).values()]
    torch.testing.assert_close(*contexts, atol=2e-2, rtol=2e-2)  # bf16


@pytest.mark.e2e
def test_the_headline_of_the_gpu_program_probes_what_it_pretrained(program, monkeypatch):
    """The trainings are tried by hand."""
    parts, asked = program("gpu_parts"), []

    def pretrained(given):
        asked.append(given)
        torch.manual_seed(1)
        config = BeitConfig(hidden_size=32, num_attention_heads=4, intermediate_size=64, num_hidden_layers=2,
                            image_size=32, patch_size=4, vocab_size=8)  # fmt: skip
        BeitForMaskedImageModeling(config).save_pretrained(given.runs / "model")
        line = {"step": 7, "split": "train", "images_per_second": 9.0, "loss": 2.0}
        (given.runs / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        return given.runs

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (200, 32, 32, 3), dtype=np.uint8), np.arange(200) % 10
    monkeypatch.setattr(program("headline_gpu"), "pretrained", pretrained)
    monkeypatch.setattr(program("cifar10"), "labelled", lambda share, seed: pictures)
    *_, found = parts.headline(parts.sizes(True, 100.0))
    assert asked[0].minutes == pytest.approx(100 * parts.PRETRAINING_SHARE / 60)
    assert (found["steps"], found["images_per_second"], found["loss"]) == (7, 9.0, 2.0)
    probed = ("pretrained ridge", "pretrained knn", "random ridge", "random knn", "pixels knn")
    assert all(0 <= found[name] <= 1 for name in probed)


@pytest.fixture
def environment(monkeypatch):
    """What the program changes of it is undone."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))


def crashes(given):
    raise ValueError(f"nothing of {given.side} pixels")


def is_killed(given):
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(mark, given):
    """Measure something, start a process that would leave a mark, and wait for it."""
    yield {"before": 1.0}
    subprocess.run([sys.executable, "-c", f"import time; time.sleep(8); open({mark!r}, 'w')"])


@pytest.mark.e2e
def test_a_part_that_crashes_or_hangs_leaves_nothing_behind(program, environment, monkeypatch, tmp_path):
    gpu, parts = (
        program("gpu"),
        {"crashes": crashes, "is killed": is_killed, "hangs": partial(hangs, str(tmp_path / "mark"))},
    )
    monkeypatch.setattr(program("gpu_parts"), "PARTS", parts)
    assert gpu.measure("crashes", True, 60)["failed"].endswith("ValueError: nothing of 32 pixels")
    assert gpu.measure("is killed", True, 60)["failed"] == "exit status -9"
    found = gpu.measure("hangs", True, 4)
    assert (found["before"], found["failed"]) == (1.0, "not finished after 4 s")
    time.sleep(6)
    assert not (tmp_path / "mark").exists()


@pytest.mark.e2e
def test_a_part_is_measured_in_a_process_of_its_own(program, environment):
    found = program("gpu").measure("heads", True, 100)
    assert found["relative_error"]["tokens fp32"] == 0
    assert found["seconds"] > 0


@pytest.mark.e2e
@pytest.mark.parametrize(
    "part", ["heads", "repeatability", "pretraining", "peers", "segmentation", "attention", "tokenizer", "answers"]
)
def test_the_parts_of_the_gpu_program_run_in_small(program, part):
    """`continuation` and `headline` are tried by hand: they train in processes of their own, which have other tests."""
    torch._dynamo.reset()
    parts = program("gpu_parts")
    *_, found = parts.numbers_of(parts.PARTS[part], parts.sizes(True))
    assert found
    assert "failed" not in json.dumps(found)
    assert {"continuation", "headline", part} <= parts.PARTS.keys()


def test_the_gpu_headline_is_of_the_recipe(program):
    made = program("headline_gpu")
    line = made.arguments("12x192", Path("tokens"), 2000, tiny=False)
    assert {"--model.num_hidden_layers=12", "--model.hidden_size=192", "--train.batch_size=1024",
            "--train.max_steps=2000", "--optim.warmup_steps=100", "--train.compile=true", "--data.keep_decoded=true",
            "--augment.device=model"} <= set(line)  # fmt: skip
    tiny = made.arguments("9x256", Path("tokens"), 4, tiny=True)
    assert tiny[-len(made.TINY) - len(made.TINY_MODEL) :] == [*made.TINY, *made.TINY_MODEL]


def test_from_scratch_on_a_gpu_has_the_compute_of_pretraining_and_fine_tuning(program, monkeypatch):
    made = program("headline_gpu")
    given = Namespace(size="9x256", epochs=100, fine_tuning_epochs=90, tiny=False, tokenizer="run/model")
    step = made.training_flops(BeitConfig(hidden_size=256, num_hidden_layers=9, num_attention_heads=4,
                                          intermediate_size=1024, image_size=32, patch_size=4), 0)  # fmt: skip
    costs = [(0.0, 0.0), (7 * 1024 * step, 0.0), (0.0, step)]
    monkeypatch.setattr(made, "tokenizer_flops", lambda folder: costs[0])
    tuned, scratch = made.steps_of("pretrained", given), made.steps_of("scratch", given)
    assert tuned == round(90 * 48_000 / 1024)
    for cost, steps in zip(costs, (0, 7, 100 * 48_000 / 1024), strict=True):
        monkeypatch.setattr(made, "tokenizer_flops", lambda folder, cost=cost: cost)
        assert made.steps_of("scratch", given) - scratch == pytest.approx(steps, abs=1)
    # 40 of 64 patches are hidden from an encoder of nine layers, and a decoder of one layer sees all
    assert 0.4 < (scratch - tuned) / (100 * 48_000 / 1024) < 0.6
    lines = made.fine_tuning("scratch", 0, given), made.fine_tuning("pretrained", 0, given, "runs/p/model")
    assert [next(one for one in line if one.startswith("--checkpoint")) for line in lines] == [
        "--checkpoint=null", "--checkpoint=runs/p/model",
    ]  # fmt: skip
    assert set(lines[1]) - set(lines[0]) < {
        "--checkpoint=runs/p/model", "--data.workers=7", f"--train.max_steps={tuned}", "--optim.layer_decay=0.9",
        f"--optim.warmup_steps={int(made.WARMUP * tuned)}",
    }  # fmt: skip
