"""Two tokenizers, trained for minutes on CIFAR-10: their reconstruction of pixels, and the class in their tokens.

    python benchmarks/tokenizers_cifar10.py [FOLDER]

FOLDER holds the training and the test pictures. Trains the discrete VAE, a teacher, and the VQ-KD tokenizer that it
teaches, as the recipes say (half an hour on two cores; stopped, it continues), and fits a linear probe on the
histograms of the tokens of a picture; then measures all of them on the test pictures. Writes
results/tokenizers_cifar10.json.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from about import write_result
from cifar10 import PICTURES
from peers import ROOT
from test_pictures import path_for

RUNS = ROOT / "runs"
RESULT = Path(__file__).parent / "results" / "tokenizers_cifar10.json"
LEAST_PSNR, LEAST_USED = 21.0, 0.6


def beit(*arguments):
    """Run the command line, showing what it says, and return the seconds it took."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "beit", *map(str, arguments)], check=True, cwd=ROOT)
    return time.perf_counter() - began


def trained(command, name, train, *more):
    """Train by a recipe and return the seconds it took, also in an earlier start; None if it was stopped in between."""
    run = RUNS / name
    finished, begun = (run / "result.json").exists(), (run / "recipe.yaml").exists()
    seconds = beit(*command, f"recipes/{name}.yaml", "--data.path", train, "--run.output", run, *more)
    clock = run.with_name(f"{name}.seconds")
    if not finished:
        clock.write_text(json.dumps(None if begun else seconds))
    return json.loads(clock.read_text())


def histograms(name, split, pictures):
    """Return how often each code occurs in each picture, (P, V), and the classes, (P,)."""
    folder = RUNS / name / f"tokens_{split}"
    beit("tokenizer", "encode", "--tokenizer", RUNS / name / "model", "--data.path", pictures, "--output", folder,
         "--batch_size", 250)  # fmt: skip
    tokens = np.load(folder / "tokens.npy", mmap_mode="r").reshape(len(np.load(folder / "labels.npy")), -1)
    vocab = json.loads((folder / "facts.json").read_text())["vocab_size"]
    return np.stack([np.bincount(row, minlength=vocab) for row in tokens]), np.load(folder / "labels.npy")


def fit_probe(name, train):
    """Return a linear classifier on token histograms, with the scaling of its inputs."""
    x, y = histograms(name, "train", train)
    return make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300)).fit(x, y)


def measure_on_test(folder, probe, name, teacher=None):
    """Return the quality of a tokenizer on the test pictures, and the accuracy of a probe of its tokens.

    Its report shows the pictures above their reconstructions. A teacher is measured too.
    """
    run = RUNS / name
    test, more = path_for(run, folder), ("--teacher", teacher) if teacher else ()
    beit("tokenizer", "evaluate", "--tokenizer", run / "model", "--data.path", test, "--batch_size", 250,
         "--output", run / "test.json", "--report", run / "test.html", *more)  # fmt: skip
    if teacher:
        beit("evaluate", "--model", teacher, "--data.path", test)
    return json.loads((run / "test.json").read_text()), float(probe.score(*histograms(name, "test", test)))


def print_results(discrete, distilled, probes, seconds):
    """Print the results."""
    used = {name: one["used_codes"] / one["vocab_size"] for name, one in (("dvae", discrete), ("vq_kd", distilled))}
    took = "stopped and continued" if seconds is None else f"{seconds / 60:.1f} minutes"
    print(f"discrete VAE, {took}, {discrete['pictures']:,} test pictures:")
    print(f"  PSNR {discrete['psnr']:.2f} dB (wanted {LEAST_PSNR}), {used['dvae']:.0%} of its codes used", end=" ")
    print(f"(wanted {LEAST_USED:.0%})")
    print(
        f"VQ-KD: cosine similarity to the teacher {distilled['similarity']:.3f}, {used['vq_kd']:.0%} of its codes used"
    )
    shares = ", ".join(f"{name} {share:.1%}" for name, share in probes.items())
    print(f"linear probe on token histograms, test accuracy: {shares}")


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    train = folder / "train.parquet"
    if not train.exists():
        raise SystemExit(f"{folder} holds no train.parquet; name a folder that does")
    seconds = {
        "tokenizer_cifar10": trained(["tokenizer", "train"], "tokenizer_cifar10", train),
        "teacher_cifar10": trained(["finetune"], "teacher_cifar10", train),
    }
    teacher = RUNS / "teacher_cifar10" / "model"
    seconds["vq_kd_cifar10"] = trained(["tokenizer", "distill"], "vq_kd_cifar10", train, "--teacher", teacher)
    fitted = {name: fit_probe(name, train) for name in ("tokenizer_cifar10", "vq_kd_cifar10")}

    probes = {}
    discrete, probes["tokenizer_cifar10"] = measure_on_test(folder, fitted["tokenizer_cifar10"], "tokenizer_cifar10")
    distilled, probes["vq_kd_cifar10"] = measure_on_test(folder, fitted["vq_kd_cifar10"], "vq_kd_cifar10", teacher)

    print_results(discrete, distilled, probes, seconds["tokenizer_cifar10"])
    numbers = {"test_pictures": {"discrete_vae": discrete, "vq_kd": distilled}, "linear_probe_accuracy": {
        "discrete_vae": probes["tokenizer_cifar10"], "vq_kd": probes["vq_kd_cifar10"]},
        "training_seconds": {name: value and round(value) for name, value in seconds.items()}}  # fmt: skip
    write_result(RESULT, numbers, "torch", "scikit-learn")


if __name__ == "__main__":
    main()
