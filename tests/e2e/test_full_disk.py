"""A disk that runs full costs the run its next checkpoint and nothing else."""

import json
import shutil
import subprocess

import pytest

from beit.models_torch.loading import read_safetensors
from tests.e2e.small import PRETRAIN, beit


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of the asked size; skips where that is not allowed."""
    places = []

    def mount(kilobytes):
        place = tmp_path / f"disk_{kilobytes}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 100, 700])
def test_one_clear_line_and_nothing_half_written(small_disk, kilobytes):
    """4 kB: not even the recipe and the metrics; 100 kB: no tokenizer; 700 kB: some checkpoints of the model."""
    disk = small_disk(kilobytes)
    run = disk / "run"
    options = ["--train.max_steps=40", "--run.log_every=1", "--run.save_every=5", "--run.keep_checkpoints=9"]
    done = beit("pretrain", *PRETRAIN, *options, f"--run.output={run}")
    assert done.returncode == 1, done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("beit: cannot write ")
    assert "No space left on device" in lines[0]
    assert not list(disk.rglob("*.tmp"))
    for checkpoint in disk.rglob("checkpoints/step_*"):
        assert read_safetensors(checkpoint / "model.safetensors")
        assert read_safetensors(checkpoint / "optimiser.safetensors")
    for metrics in disk.rglob("metrics.jsonl"):
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        steps = {line["step"] for line in lines if line["split"] == "train"}
        assert sorted(steps) == list(range(1, 1 + len(steps))), "every line is whole, and none is missing"
