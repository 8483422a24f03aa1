"""`make endurance`: every kind of job, killed and disturbed at random moments, ends with the bits of one that was not.

A disturbance is SIGKILL, SIGTERM or SIGINT at a moment that is drawn (during imports, steps, writing or measuring), or
damage to the newest checkpoint after it (cut off, a bit flipped). After some of them the job is run to its end, and the
files that it makes are compared with those of an undisturbed one.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.e2e.small import FINETUNE, MODEL, PICTURES, PRETRAIN, TOKENIZER, beit, losses, start

MODEL_NAME, TOKENS = "beit/nano-cifar10", "beit/nano-cifar10-tokens"
RUN = ["--run.log_every=1", "--run.save_every=5", "--run.report=false", "--train.max_steps=24"]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
JAX = ["--run.framework=jax", "--run.device=cpu"]
MOST = 4  # disturbances of one job, before it is run to its end


@dataclass(frozen=True)
class Job:
    """A job and the files that have to be the same.

    Attributes:
        command: Its command line, `{output}` for what it makes.
        compared: Those files, below the output; "" for the output itself.
        ranks: How many processes it has.
    """

    command: list[str]
    compared: tuple[str, ...]
    ranks: int = 1


def jobs(place: Path) -> dict[str, Job]:
    """Return all jobs; `place` is for the pictures that some of them need."""
    scenes, pictures = place / "scenes", place / "pictures"
    rng = np.random.default_rng(0)
    for kind in ("pictures", "masks"):
        (scenes / kind).mkdir(parents=True)
    pictures.mkdir()
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(pictures / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(scenes / "pictures" / f"{number}.png")
        Image.fromarray(rng.integers(0, 3, (40, 40), np.uint8)).save(scenes / "masks" / f"{number}.png")
    (scenes / "classes.txt").write_text("a\nb\nc\n")
    weights, output = ("model/model.safetensors",), "--run.output={output}"
    segment = [
        "segment", *MODEL, f"--data.path={scenes}/pictures", f"--label_maps.path={scenes}/masks", "--data.workers=0",
        f"--label_maps.classes={scenes}/classes.txt", "--optim.warmup_steps=2",
        "--model.image_size=32", "--model.num_hidden_layers=4", "--optim.lr=3e-3", "--train.batch_size=8",
    ]  # fmt: skip
    distil = [
        "tokenizer", "distill", *PICTURES, "--image_size=16", "--model.patch_size=4", "--model.vocab_size=32",
        "--model.code_size=8", "--model.hidden_size=32", "--model.num_hidden_layers=2", "--model.decoder_layers=1",
        "--model.num_attention_heads=4", "--model.intermediate_size=64", f"--teacher={MODEL_NAME}",
        "--optim.warmup_steps=2",
    ]  # fmt: skip
    predict = ["predict", MODEL_NAME, str(pictures), "--device=cpu", "--batch_size=8", "--task"]
    return {
        "pretrain": Job(["pretrain", *PRETRAIN, *RUN, output], weights),
        "pretrain on two": Job(["pretrain", *PRETRAIN, *RUN, output], weights, ranks=2),
        "finetune": Job(["finetune", *FINETUNE, *RUN, "--train.ema_decay=0.9", output], weights),
        "distill": Job(["distill", *FINETUNE, *RUN, f"--teacher.path={place}/whole/finetune/model", output], weights),
        "finetune in jax": Job(["finetune", *FINETUNE, *RUN, *JAX, output], weights),
        "segment": Job([*segment, *RUN, output], weights),
        "dvae": Job(["tokenizer", "train", *PICTURES, *TOKENIZER, *RUN, output], weights),
        "vq_kd": Job([*distil, *RUN, output], weights),
        "encode": Job(
            ["tokenizer", "encode", f"--tokenizer={TOKENS}", "--data.path=digits:train", "--image_size=32",
             "--batch_size=32", "--output={output}"], ("tokens.npy", "names.txt"),
        ),
        "predict": Job([*predict, "embed", "--output={output}.jsonl"], (".jsonl",)),
        "predict pictures": Job([*predict, "attend", "--output={output}"], ("0_attention.png",)),
        "evaluate": Job(["evaluate", f"--model={place}/whole/finetune/model", "--data.path=digits:test",
                         "--predictions={output}.csv"], (".csv",)),
    }  # fmt: skip


@dataclass
class Campaign:
    """Outcome of a campaign: disturbances, and what went wrong."""

    disturbances: int
    jobs: int
    findings: list[str]


def endure(kinds: dict[str, Job], seed: int, seconds: float, place: Path) -> Campaign:
    """Disturb jobs until the time is over."""
    draw, campaign, deadline = random.Random(seed), Campaign(0, 0, []), time.monotonic() + seconds  # noqa: S311
    whole: dict[str, tuple[Path, float]] = {}
    while time.monotonic() < deadline:
        name = list(kinds)[campaign.jobs % len(kinds)]
        job = kinds[name]
        if name not in whole:
            began, reference = time.monotonic(), place / "whole" / name.replace(" ", "_")
            reference.parent.mkdir(parents=True, exist_ok=True)
            done = beit(*_command(job, reference), ranks=job.ranks)
            whole[name] = reference, time.monotonic() - began
            if done.returncode:
                campaign.findings.append(f"{name} fails undisturbed: {done.stderr}")
                return campaign
        reference, length = whole[name]
        output = place / f"job_{campaign.jobs}"
        for _ in range(draw.randint(1, MOST)):
            campaign.disturbances += 1
            if said := _disturb(draw, job, output, length):
                campaign.findings.append(f"{name}, job {campaign.jobs}: {said}")
        done = beit(*_command(job, output), ranks=job.ranks)
        if done.returncode:
            campaign.findings.append(f"{name}, job {campaign.jobs} does not end: {done.stderr}")
        elif different := _different(job, reference, output):
            campaign.findings.append(f"{name}, job {campaign.jobs} differs in {different}")
        else:
            _remove(output)
        campaign.jobs += 1
    return campaign


def _command(job: Job, output: Path) -> list[str]:
    return [part.format(output=output) if "{output}" in part else part for part in job.command]


def _disturb(draw: random.Random, job: Job, output: Path, length: float) -> str:
    """Start a job and disturb it; return what should not have happened."""
    moment, number = draw.uniform(0, 1.1 * length), draw.choice(SIGNALS)
    if job.ranks > 1:
        done = beit(*_command(job, output), ranks=job.ranks, kill_after=moment)
        errors, statuses = "".join(done.errors), set(done.statuses)
    else:
        process = start(*_command(job, output), start_new_session=True)
        time.sleep(moment)
        process.send_signal(number)
        _, errors = process.communicate(timeout=300)
        statuses = {process.returncode}
    if "Traceback" in errors and -signal.SIGKILL not in statuses:
        return f"{number.name} after {moment:.2f} s ends in {errors[-2000:]}"
    if draw.random() < 0.3:
        _damage(draw, output)
    return ""


def _damage(draw: random.Random, output: Path) -> None:
    """Cut off or change a file of the newest checkpoint, if there is an older one to go back to."""
    found = sorted((output / "checkpoints").glob("step_*"))
    files = sorted(path for path in found[-1].rglob("*") if path.is_file()) if len(found) > 1 else []
    if files:
        victim = draw.choice(files)
        content = bytearray(victim.read_bytes())
        if content and draw.random() < 0.5:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        else:
            del content[draw.randrange(len(content) + 1) :]
        victim.write_bytes(content)


def _different(job: Job, reference: Path, output: Path) -> list[str]:
    pairs = {name: [_below(place, name) for place in (reference, output)] for name in job.compared}
    different = [name for name, (one, other) in pairs.items() if one.read_bytes() != other.read_bytes()]
    if losses(reference) != losses(output):
        different.append("metrics.jsonl")
    leftovers = [path.name for path in output.rglob(".*.tmp")] if output.is_dir() else []
    return different + leftovers


def _below(place: Path, name: str) -> Path:
    return place.with_name(place.name + name) if name.startswith(".") else place / name


def _remove(output: Path) -> None:
    for path in output.parent.glob(f"*{output.name}*"):
        if path.name.strip(".").split(".")[0] == output.name:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> int:
    """Run a campaign, and print one line of figures at its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs="*", default=[], help="names of jobs")
    parser.add_argument("--findings", type=Path, default=Path("runs/endurance"))
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    kept = given.findings / str(given.seed)
    with tempfile.TemporaryDirectory() as needed:
        kinds = {name: job for name, job in jobs(Path(needed)).items() if not given.only or name in given.only}
        print(f"endurance: seed {given.seed}, {len(kinds)} kinds of jobs, {given.seconds:g} s", flush=True)  # noqa: T201
        kept.mkdir(parents=True, exist_ok=True)
        found = endure(kinds, given.seed, given.seconds, kept)
    (kept / "findings.txt").write_text("\n\n".join(found.findings))
    where = f"; they are in {kept}" if found.findings else ""
    figures = f"{found.disturbances} disturbances of {found.jobs} jobs, seed {given.seed}"
    print(f"endurance: {figures}; differences and failures: {len(found.findings)}{where}")  # noqa: T201
    return 1 if found.findings else 0


if __name__ == "__main__":
    sys.exit(main())
