"""Fine-tuning through the command line, with everything on."""

import json
import math
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from beit import BeitForImageClassification, preset
from beit.cli.main import main
from beit.errors import CheckpointError
from beit.image import Preprocessing
from beit.settings.finetune import FinetuneJob, LoraSettings
from beit.settings.groups import DataSettings
from beit.tasks.finetune.lora import adapt, load_adapter
from beit.tasks.finetune.task import FinetuneTask
from tests.conftest import GOLDEN, TINY_MODEL
from tests.e2e.small import FINETUNE, beit, losses, start
from tests.fake_hub import FakeHub
from tests.fork_server import fork_server

STEPS = 40
EVERYTHING = [
    "--data.val_path=digits:test", "--model.drop_path_rate=0.2", "--train.batch_size=16", f"--train.max_steps={STEPS}",
    "--augment.color_jitter=0", "--augment.flip=0.5", "--rand_augment.operations=2", "--erase=0.25",
    "--mixing.mixup=0.8", "--mixing.cutmix=1.0", "--class_weights=balanced", "--train.ema_decay=0.9",
    "--train.accumulate=2", "--early_stop.patience=9", "--validation.every=10", "--validation.pictures=64",
    "--run.log_every=1", "--run.save_every=7", "--run.report=false",
]  # fmt: skip
COMMAND = ["finetune", *FINETUNE, *EVERYTHING]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    done = beit(*COMMAND, f"--run.output={run}")
    assert done.returncode == 0, done.stderr
    return run


def same_files(one, other):
    for name in ("model/model.safetensors", "model_average/model.safetensors", "result.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("extra", [[], ["--lora.rank=2"]], ids=["whole", "low-rank"])
def test_a_killed_run_continues_bit_for_bit(whole, tmp_path, extra):
    if extra:  # an adaptation needs something to adapt
        checkpoint = [f"--checkpoint={whole / 'model'}", "--head=new"]
        command = (
            [part for part in COMMAND if not part.startswith(("--model.size", "--model.drop"))] + extra + checkpoint
        )
        uninterrupted = tmp_path / "uninterrupted"
        assert beit(*command, f"--run.output={uninterrupted}").returncode == 0
    else:
        command, uninterrupted = COMMAND, whole
    run = tmp_path / "run"
    kill_after = int(np.random.default_rng().integers(1, STEPS - 15))
    process = start(*command, f"--run.output={run}")
    deadline = time.monotonic() + 120
    while max(losses(run), default=0) < kill_after and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_at = max(losses(run))
    assert killed_at < STEPS, "killed in the middle"
    done = beit(*command, f"--run.output={run}")
    assert done.returncode == 0, done.stderr
    assert losses(run) == losses(uninterrupted), f"killed after step {killed_at}"
    same_files(run, uninterrupted)


def test_workers_do_not_change_the_numbers(whole, tmp_path):
    done = beit(*COMMAND, f"--run.output={tmp_path / 'run'}", "--data.workers=2")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == losses(whole)
    same_files(tmp_path / "run", whole)


def test_the_moving_average_is_measured_too(whole):
    result = json.loads((whole / "result.json").read_text())
    average = {name: result[f"average_{name}"] for name in ("accuracy", "loss", "mean_class_accuracy")}
    assert all(value != result[name] for name, value in average.items() if name == "loss")
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["average_loss"] == average["loss"]
    assert [line["step"] for line in lines if "held_out_loss" in line] == [10, 20, 30, 40]
    assert all("accuracy" not in line for line in lines if line["split"] == "train"), "pictures are two at once"


def test_a_probe_trains_the_head_alone_and_learns(whole, tmp_path):
    run = tmp_path / "probe"
    options = ["--freeze=encoder", "--probe.layer=1", "--head=new", "--label_smoothing=0", "--train.max_steps=60",
               "--optim.lr=3e-2", "--optim.warmup_steps=5", "--data.path=digits:train", "--data.workers=0",
               "--data.val_path=digits:test", "--augment.crop_scale=[0.9, 1.0]", "--augment.flip=0",
               "--train.batch_size=64", "--run.report=false"]  # fmt: skip
    assert main(["finetune", f"--checkpoint={whole / 'model'}", f"--run.output={run}", *options]) == 0
    before, after = (load_file(place / "model/model.safetensors") for place in (whole, run))
    same = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    assert after.keys() - same == {"classifier.weight", "classifier.bias"}
    assert BeitForImageClassification.from_pretrained(run / "model").config.num_hidden_layers == 1
    assert json.loads((run / "result.json").read_text())["loss"] < math.log(10) - 0.01, "better than knowing nothing"


def test_a_model_goes_on_with_larger_pictures(whole, tmp_path, capsys, caplog):
    run = tmp_path / "larger"
    options = ["--model.image_size=24", "--train.max_steps=2", "--optim.warmup_steps=0", "--train.batch_size=8",
               "--data.path=digits:train", "--data.workers=0", "--run.report=false"]  # fmt: skip
    assert main(["finetune", f"--checkpoint={whole / 'model'}", f"--run.output={run}", *options]) == 0
    assert "resized from 4 x 4 to 6 x 6 patches by the authors' cubic method" in caplog.text
    assert "the same 10 classes (0, 1, 2, ...): its head is kept" in caplog.text
    saved = BeitForImageClassification.from_pretrained(run / "model")
    assert saved.config.image_size == 24
    assert saved.config.class_names == [str(digit) for digit in range(10)]
    assert "held-out pictures: accuracy" in capsys.readouterr().out


def test_two_processes_mix_the_same_pairs(tmp_path):
    still = ["--train.max_steps=8", "--run.device=cpu"]
    for name, ranks in (("one", 1), ("two", 2)):
        ended = beit(*COMMAND, *still, f"--run.output={tmp_path / name}", ranks=ranks)
        assert not any(ended.statuses), ended.errors
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one) == list(two) == list(range(1, 9))
    assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-5)


def test_a_published_name(tmp_path):
    options = ["--data.path=digits:train", "--data.workers=0", "--data.per_class=2", "--train.max_steps=1",
               "--optim.warmup_steps=0", "--train.batch_size=4", "--run.report=false", "--data.val_share=0.02",
               "--checkpoint=microsoft/beit-base-patch16-224-pt22k"]  # fmt: skip
    with FakeHub() as hub:
        hub.add("microsoft/beit-base-patch16-224-pt22k", GOLDEN / "hf_v4/mim")
        environment = hub.environment(tmp_path / "home")
        done = fork_server("models").run("finetune", *options, f"--run.output={tmp_path / 'run'}", env=environment)
    assert done.returncode == 0, done.stderr
    assert "the shared relative position bias was copied into every layer" in done.stderr
    processor = json.loads((tmp_path / "run/model/preprocessor_config.json").read_text())
    assert processor["image_mean"] == [0.5, 0.5, 0.5]
    config = json.loads((tmp_path / "run/model/config.json").read_text())
    assert config["id2label"]["3"] == "3"
    assert config["label2id"]["3"] == 3


def test_an_adaptation_goes_on_beside_the_weights_that_it_was_trained_beside(tmp_path):
    """The checkpoint may have been trained on meanwhile, under the same name."""

    def adapted(seed):
        torch.manual_seed(seed)
        model = BeitForImageClassification(preset("tiny", **TINY_MODEL, num_labels=3, initializer_range=0.2))
        adapt(model, LoraSettings(rank=2))
        return model

    first, task = adapted(0), FinetuneTask.__new__(FinetuneTask)
    task.settings = FinetuneJob(DataSettings("pictures"), lora=LoraSettings(rank=2))
    task.view = Preprocessing((32, 32), (32, 32))
    task.save(tmp_path, first)
    same, other = adapted(0), adapted(1)
    load_adapter(same, tmp_path)
    torch.testing.assert_close(same.state_dict(), first.state_dict())
    with pytest.raises(CheckpointError, match="was trained beside other weights than the checkpoint has now"):
        load_adapter(other, tmp_path)
