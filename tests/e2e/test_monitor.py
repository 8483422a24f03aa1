"""The quality monitor of a pre-training: its numbers, what it leaves alone, and the runs that it stops."""

import json
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from beit import BeitForMaskedImageModeling, preset
from beit.cli.main import main
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig
from tests.e2e.small import PRETRAIN, beit, losses

STEPS = 30
COMMON = [
    "pretrain", *PRETRAIN, f"--train.max_steps={STEPS}", "--run.device=cpu", "--run.log_every=5", "--run.save_every=10",
    "--gallery.pictures=0", "--model.drop_path_rate=0", "--monitor.every=10", "--monitor.pictures=200",
    "--run.report=false",
]  # fmt: skip
SIZES = {"image_size": 16, "patch_size": 4, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "intermediate_size": 64}  # fmt: skip
LABELLED = {"knn", "ridge", "rankme", "position_spread"}


def done(*arguments):
    process = beit(*arguments)
    assert process.returncode == 0, process.stderr
    return process


def lines_of(run, *splits):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if not splits or line["split"] in splits]


def monitored(run):
    """Return the lines of the monitor."""
    return [line for line in lines_of(run) if "rankme" in line]


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("monitor") / "run"
    process = done(*COMMON, "--keep_best.on=knn", "--run.report=true", f"--run.output={run}")
    return run, process.stdout


@pytest.fixture(scope="module")
def run(whole):
    return whole[0]


@pytest.fixture(scope="module")
def tokens(run):
    return f"--tokenizer.path={run / 'tokenizer/model'}"


def test_every_layer_is_measured_beside_raw_pixels_and_random_weights(run):
    measured = [0, 10, 20, 30]
    steps = {split: [line["step"] for line in lines_of(run, split) if "ridge" in line]
             for split in ("pixels", "layer_1", "layer_2", "val")}  # fmt: skip
    assert steps == {"pixels": [0], **dict.fromkeys(["layer_1", "layer_2", "val"], measured)}
    (pixels,) = lines_of(run, "pixels")
    assert pixels["knn"] > 0.6
    for step in (0, 10, 20, 30):
        layers = [line for line in monitored(run) if line["step"] == step and line["split"].startswith("layer")]
        (best,) = (line for line in monitored(run) if line["step"] == step and line["split"] == "val")
        assert best["knn"] == max(layer["knn"] for layer in layers)
        assert layers[best["ridge_layer"] - 1]["ridge"] == best["ridge"]
        assert all(layer.keys() >= LABELLED and layer["rankme"] >= 1 for layer in layers)
    trained = lines_of(run, "train")
    assert all(1 <= line[name] <= 32 for line in trained for name in ("target_perplexity", "prediction_perplexity"))


def test_they_are_shown_wherever_a_run_is(whole, capsys):
    run, output = whole
    last = [line for line in monitored(run) if line["split"] == "val"][-1]
    shown = f"kNN {100 * last['knn']:.1f} % (layer {last['knn_layer']}"
    assert "monitor: raw pixels kNN" in output
    assert "kNN" in next(line for line in output.splitlines() if f"step {STEPS}/{STEPS}" in line)
    assert f"{shown}; raw pixels" in output
    assert main(["watch", str(run), "--once"]) == 0
    assert "kNN accuracy" in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert "Is it any good?" in page
    assert shown in page
    assert "layer 2</td>" in page
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert {"val/knn", "layer_2/ridge", "pixels/knn"} <= set(events.Tags()["scalars"])
    result = json.loads((run / "result.json").read_text())
    assert result["knn"] == last["knn"]
    assert {"pixels_knn", "start_knn"} <= result.keys()


def test_the_best_model_is_kept_and_knows_its_layers(whole, run):
    best = max(
        (line for line in monitored(run) if line["split"] == "val" and line["step"]), key=lambda line: line["knn"]
    )
    kept = json.loads((run / "best" / "features.json").read_text())
    assert (kept["step"], kept["best_layer"], kept["measure"]) == (best["step"], best["knn_layer"], "knn")
    last = json.loads((run / "model" / "features.json").read_text())
    assert last["step"] == STEPS
    assert [layer["layer"] for layer in last["layers"]] == [1, 2]
    assert (last["training_pictures"], last["held_out_pictures"]) == (200, 65)
    assert f"best has the model of step {best['step']}, the best by kNN {100 * best['knn']:.1f} %" in whole[1]
    if best["step"] == STEPS:
        assert weights(run / "best") == weights(run / "model")


def test_a_run_trains_the_same_without_it(run, tokens, tmp_path):
    done(*COMMON, tokens, "--monitor.every=0", f"--run.output={tmp_path}/run")
    assert weights(tmp_path / "run/model") == weights(run / "model")
    assert losses(tmp_path / "run") == losses(run)
    assert not monitored(tmp_path / "run")
    assert not (tmp_path / "run/model/features.json").exists()


def test_a_run_that_was_killed_measures_the_same(fork_server, run, tokens, tmp_path):
    command = [*COMMON, tokens, "--keep_best.on=knn", f"--run.output={tmp_path}/run"]
    ended = fork_server.run(*command, kill_after=tmp_path / "run/checkpoints/step_00000010")
    assert ended.returncode == -signal.SIGKILL
    ended = fork_server.run(*command)
    assert not any(ended.statuses), ended.errors
    assert monitored(tmp_path / "run") == monitored(run)
    assert weights(tmp_path / "run/best") == weights(run / "best")


@pytest.mark.parametrize("way", ["two processes", "jax"])
def test_the_numbers_are_those_of_one_process_in_torch(fork_server, run, tokens, tmp_path, way):
    options, ranks = (["--run.framework=jax"], 1) if way == "jax" else ([], 2)
    ended = fork_server.run(*COMMON, tokens, *options, f"--run.output={tmp_path}/run", ranks=ranks)
    assert not any(ended.statuses), ended.errors
    ours, theirs = monitored(tmp_path / "run"), monitored(run)
    assert len(ours) == len(theirs)
    for mine, line in zip(ours, theirs, strict=True):
        assert mine["split"] == line["split"]
        for name in LABELLED:
            assert mine[name] == pytest.approx(line[name], rel=1e-2, abs=0.031), name  # two of 65 pictures


def test_the_interval_is_chosen_and_recorded(tokens, tmp_path):
    run = tmp_path / "run"
    command = [part for part in COMMON if not part.startswith("--monitor.every")]
    done(*command, tokens, "--monitor.share=1.0", f"--run.output={run}")
    chosen = json.loads((run / "monitor.json").read_text())
    assert 1 <= chosen["every"] <= STEPS
    steps = [line["step"] for line in monitored(run) if line["split"] == "val"]
    assert steps[1:] == sorted({*range(chosen["every"] * -(-12 // chosen["every"]), STEPS, chosen["every"]), STEPS})


def test_without_labels(tokens, tmp_path):
    (tmp_path / "set").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)):
        Image.fromarray(pixels).resize((16, 16)).save(tmp_path / f"set/{number}.png")
    data = [f"--data.path={tmp_path}/set", "--data.val_share=0.3", "--train.batch_size=16"]
    process = done(*COMMON, *data, tokens, "--keep_best.on=retrieval", f"--run.output={tmp_path}/run")
    assert "monitor: no kNN and no ridge probe: the pictures have no label of one class each" in process.stdout
    assert all({"retrieval", "rankme", "position_spread"} <= line.keys() for line in monitored(tmp_path / "run"))
    assert json.loads((tmp_path / "run/model/features.json").read_text())["measure"] == "retrieval"
    refused = beit(*COMMON, *data, tokens, "--keep_best.on=knn", f"--run.output={tmp_path}/other")
    assert refused.returncode == 1
    assert "keep_best.on is knn; expected one of retrieval, rankme for these pictures" in refused.stderr


@pytest.fixture
def alike(tmp_path):
    """Copies of one picture."""
    folder = tmp_path / "alike"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for number in range(60):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [f"--data.path={folder}", "--train.batch_size=16"]


def test_pictures_that_are_all_the_same_stop_a_run_at_once(alike, tokens, tmp_path):
    stopped = beit(*COMMON, *alike, tokens, f"--run.output={tmp_path}/run")
    assert stopped.returncode == 1
    assert "the 57 training pictures that were looked at are all the same" in stopped.stderr
    assert stopped.stderr.strip().endswith("--run.force true goes on all the same")
    assert stopped.stderr.count("\n") == 2, "and that few pictures are held out"
    assert not losses(tmp_path / "run")
    done(*COMMON, *alike, tokens, "--run.force=true", f"--run.output={tmp_path}/run")
    assert max(losses(tmp_path / "run")) == STEPS


def test_tokens_that_are_always_the_same_stop_a_run_at_once(tmp_path):
    tokenizer = DiscreteVAE(DiscreteVAEConfig(32, 8, 1, 2, 8, image_size=8))
    torch.nn.init.zeros_(tokenizer.encoder.head.weight)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    stopped = beit(*COMMON, f"--tokenizer.path={tmp_path}/tokenizer", f"--run.output={tmp_path}/run")
    assert stopped.returncode == 1
    assert "the visual tokens of 200 training pictures have a perplexity of 1.00" in stopped.stderr
    assert "next to nothing to learn" in stopped.stderr


def test_features_that_have_collapsed_stop_a_run(tokens, tmp_path):
    model = BeitForMaskedImageModeling(preset("tiny", **SIZES, vocab_size=32))
    torch.nn.init.zeros_(model.get_parameter("beit.embeddings.patch_embeddings.projection.weight"))  # all look alike
    model.save_pretrained(tmp_path / "blind")
    means = ["--model.image_mean=[0.5, 0.5, 0.5]", "--model.image_std=[0.5, 0.5, 0.5]"]
    options = [f"--checkpoint={tmp_path}/blind", *means, "--optim.lr=1e-12", "--optim.min_lr=0", "--monitor.every=2"]
    stopped = beit(*COMMON, *options, tokens, f"--run.output={tmp_path}/run")
    assert stopped.returncode == 1
    assert "effective rank (RankMe) below 1.05 in 3 measurements" in stopped.stderr
    watched = beit("watch", f"{tmp_path}/run", "--once")
    assert "stopped itself: the features of all layers have had an effective rank" in " ".join(watched.stdout.split())


def test_two_ways_to_choose_the_best_are_refused(tokens, tmp_path):
    for options in (["--validation.every=3"], ["--monitor.every=0"]):
        refused = beit(*COMMON, tokens, "--keep_best.on=knn", *options, f"--run.output={tmp_path}/run")
        assert refused.returncode == 1
        assert "keep_best.on is knn" in refused.stderr
        assert not (tmp_path / "run").exists()
