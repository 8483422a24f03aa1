"""Pre-training on tar shards: workers keep up, and what cannot be read is named before the first step."""

import json
from statistics import median

import pytest

from tests.e2e.small import beit
from tests.shards import write_tar

SHARDS = 8
RUN = [
    "--model.size=tiny", "--model.image_size=112", "--mask.count=18", "--mask.min_block=4",
    "--tokenizer.codebook.vocab_size=64", "--tokenizer.codebook.hidden_size=8", "--tokenizer.codebook.groups=4",
    "--tokenizer.codebook.blocks_per_group=1", "--tokenizer.codebook.decoder_input_size=8",
    "--tokenizer.train.max_steps=1", "--tokenizer.train.batch_size=8", "--tokenizer.optim.warmup_steps=0",
    "--train.max_steps=8", "--train.batch_size=16", "--optim.warmup_steps=1",
    "--run.log_every=1", "--run.report=false", "--data.workers=2", "--data.shuffle_window=32",
]  # fmt: skip


@pytest.fixture
def shards(real_data, tmp_path):
    """Photographs in tar files, one of which was cut off."""
    photographs = sorted((real_data / "imagenet_samples").glob("*.JPEG"))
    if not photographs:
        pytest.skip("needs the photographs of imagenet_samples")
    (tmp_path / "shards").mkdir()
    for shard in range(SHARDS):
        files = [(f"{path.stem}.jpg", path.read_bytes()) for path in photographs[shard::SHARDS]]
        write_tar(tmp_path / "shards" / f"train-{shard:02d}.tar", files)
    broken = tmp_path / "shards" / "train-05.tar"
    broken.write_bytes(broken.read_bytes()[:300_000])
    return tmp_path / "shards" / "train-{00..07}.tar"


def pretrain(shards, output, *options):
    cache = {"XDG_CACHE_HOME": str(shards.parents[1] / "cache")}
    return beit("pretrain", f"--data.path={shards}", f"--run.output={output}", *RUN, *options, env=cache)


def test_workers_keep_up_and_an_unreadable_shard_is_named(shards, tmp_path):
    done = pretrain(shards, tmp_path / "run", "--data.max_broken=0.2")
    assert done.returncode == 0, done.stderr
    name = str(shards.parent / "train-05.tar")
    assert f"1 of 8 shards is unreadable and left out; first: {name}: " in done.stderr
    (line,) = (tmp_path / "run" / "broken.txt").read_text().splitlines()
    assert line.startswith(f"shard {name}: it is cut off or damaged")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    waits = [line["data_wait"] for line in lines if line["split"] == "train"]
    assert len(waits) == 8
    assert median(waits[1:]) < 0.05, waits


def test_too_many_stop_the_run_before_anything_is_written(shards, tmp_path):
    done = pretrain(shards, tmp_path / "run", "--data.max_broken=0.1")
    assert done.returncode != 0
    (line,) = done.stderr.strip().splitlines()
    assert "1 of 8 shards is unreadable (12%), more than data.max_broken allows (10%); first: " in line
    assert line.endswith("Fetch them again or remove them, or raise data.max_broken")
    assert not (tmp_path / "run").exists()
