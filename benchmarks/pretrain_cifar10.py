"""Pre-training of a tiny BEiT on CIFAR-10: its loss against that of the token frequencies.

    python benchmarks/pretrain_cifar10.py [FOLDER] [--tokenizer PATH]

FOLDER holds train.parquet. Runs recipes/pretrain_cifar10_tiny.yaml, which trains its tokenizer first unless a trained
one is named (an hour on two cores; stopped, it continues). Writes results/pretrain_cifar10.json, and the curves and the
reconstructions of held-out pictures over time as PNG files beside it.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from about import write_result
from peers import ROOT

PICTURES = ROOT.parent / "shared" / "data" / "cifar10"
RUN = ROOT / "runs" / "pretrain_cifar10_tiny"
RESULTS = Path(__file__).parent / "results"
LEAST_GAIN = 1.0  # nats
CURVES = {
    "loss": "Loss (nats)",
    "accuracy": "Masked-token accuracy",
    "prediction_perplexity": "Perplexity of the predictions",
    "lr": "Learning rate",
}


def curves(lines, result):
    """Return a figure of the run's numbers over its steps."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 2).flat, CURVES.items(), strict=True):
        axes.plot([line["step"] for line in lines], [line[name] for line in lines], linewidth=1)
        if name in ("loss", "accuracy"):
            axes.axhline(result[f"frequency_{name}"], color="grey", linestyle="--", label="token frequencies")
            axes.plot(lines[-1]["step"], result[name], "o", label="held-out pictures")
            axes.legend()
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    return figure


def reconstructions(folder):
    """Return the rows of the run's gallery under each other, with their captions."""
    steps = sorted(folder.glob("step_*.png"))
    rows = {"picture": "picture", "seen by the model": "seen"}
    rows |= {f"after step {int(path.stem.removeprefix('step_')):,}": path.stem for path in steps}
    rows |= {"decoded from its\ntrue tokens": "true_tokens"}
    pictures = {caption: Image.open(folder / f"{name}.png") for caption, name in rows.items()}
    width, height = next(iter(pictures.values())).size
    figure = Figure(figsize=(10, 8.4 * height / width * len(rows) + 0.3), layout="constrained")
    for axes, (caption, picture) in zip(figure.subplots(len(rows), 1), pictures.items(), strict=True):
        axes.imshow(picture)
        axes.set_ylabel(caption, rotation=0, ha="right", va="center", fontsize=8)
        axes.set(xticks=[], yticks=[], frame_on=False)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=PICTURES)
    parser.add_argument("--tokenizer", help="a trained tokenizer; default: one is trained first")
    parser.add_argument("--run", type=Path, default=RUN, help="the run folder")
    given = parser.parse_args()
    tokenizer = [f"--tokenizer.path={given.tokenizer}"] if given.tokenizer else []
    subprocess.run(
        [sys.executable, "-m", "beit", "pretrain", "recipes/pretrain_cifar10_tiny.yaml", f"--run.output={given.run}",
         f"--data.path={given.folder / 'train.parquet'}", *tokenizer], check=True, cwd=ROOT,
    )  # fmt: skip
    result = json.loads((given.run / "result.json").read_text())
    lines = [json.loads(line) for line in (given.run / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if line["split"] == "train"]
    curves(training, result).savefig(RESULTS / "pretrain_cifar10_curves.png", dpi=80)
    rows = reconstructions(given.run / "pictures")
    rows.savefig(RESULTS / "pretrain_cifar10_reconstructions.png", dpi=80, bbox_inches="tight")
    gain = result["frequency_loss"] - result["loss"]
    numbers = {
        "recipe": "recipes/pretrain_cifar10_tiny.yaml",
        "steps": training[-1]["step"],
        "epochs": round(training[-1]["epoch"], 2),
        **result,
        "gain": gain,
    }
    write_result(RESULTS / "pretrain_cifar10.json", numbers, "torch")
    print(f"held-out loss {result['loss']:.3f} nats, token frequencies {result['frequency_loss']:.3f}: "
          f"{gain:.2f} nats below (wanted {LEAST_GAIN})")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
