"""Trainings in processes of their own, a core each, as many at a time as this one may use; stopped, they continue."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from peers import ROOT


def train(runs, then=None):
    """Run trainings side by side and return what each measured in the end, in the order given.

    Args:
        runs: For each a run folder and the arguments of Python, such as -m beit pretrain and its recipe. One whose
            folder is finished is not run again.
        then: What to do with the folder of each and what it measured, once it is finished; others may still run.
    """

    def one(run):
        folder, arguments = run
        result = _train(folder, arguments)
        if then is not None:
            then(folder, result)
        return result

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(one, runs))


def _train(folder, arguments):
    if not (folder / "result.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.log").open("w") as log:
            done = subprocess.run([sys.executable, *arguments, f"--run.output={folder}"], cwd=ROOT,
                                  env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)  # fmt: skip
        if done.returncode:
            raise SystemExit(f"a training failed: {log.name}")
    result = json.loads((folder / "result.json").read_text())
    shown = "   ".join(f"{name} {result[name]:.4f}" for name in ("loss", "accuracy") if name in result)
    print(f"{folder.name:<32} {shown}", flush=True)
    return result


def tokenizer(folder, pictures):
    """Return the discrete VAE that its recipe trains on the pictures of CIFAR-10, after running it if need be."""
    train([(folder, ["-m", "beit", "tokenizer", "train", "recipes/tokenizer_cifar10.yaml", f"--data.path={pictures}"])])
    return folder / "model"


def lines(folder, split):
    """Return the lines of a run's metrics that are of one split."""
    every = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in every if line["split"] == split]
