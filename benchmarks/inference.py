"""Answers of a base BEiT at 224 pixels, batch 1 and 8, two threads: ours against transformers, and our files of 8 bits.

    python benchmarks/inference.py [--part eager|compiled|start|exported|int8]

Everything that is compared takes turns in one process with the same weights; the median counts.

- eager and compiled: the float32 models in PyTorch, and the share of the rate that matrix products reach here.
- start: `import`, `from_pretrained` and the first answer to a picture, in processes of their own; memory is the peak of
  the whole process.
- exported: what `beit export` writes against a plain export of the model of transformers, by OpenVINO and onnxruntime.
- int8: OpenVINO's 8 bits against our float32 model, with the cosine of the logits on pictures as found in the wild, and
  the agreement of the best class of a tiny model on CIFAR-10, which is trained first (ten minutes, once, in runs/).

Writes results/inference.json. Ratios hold, times are those of one machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from about import write_result
from headline import PICTURES, SHARES, classifier
from peers import ROOT, TRANSFORMERS, ask, python_of
from trainings import train

RESULT = Path(__file__).parent / "results" / "inference.json"
WORKER = Path(__file__).parent / "inference_worker.py"
EXPORTS = Path(__file__).parent / "inference_exports_worker.py"
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "imagenet_samples"
TINY = ROOT / "runs" / "inference" / "tiny"
WANTED = {
    "eager 1": 1.05,
    "eager 8": 1.05,
    "compiled 1": 1.0,
    "compiled 8": 1.0,
    "compiled share 8": 0.85,
    "start seconds": 0.5,
    "start memory": 0.8,
    "openvino 1": 1.0,
    "openvino 8": 1.0,
    "onnx 1": 1.0,
    "onnx 8": 1.0,
    "int8 1": 2.2,
    "int8 8": 2.2,
    "int8 cosine": 0.99,
    "int8 agreement": 0.99,
}
AT_MOST = ("start seconds", "start memory")
STARTS = 5


def say(name, value, note=""):
    """Print a ratio beside what is wanted, and return it by its name."""
    side = "at most" if name in AT_MOST else "at least"
    met = value <= WANTED[name] if name in AT_MOST else value >= WANTED[name]
    print(
        f"{name:<18} {value:6.3f}   (wanted {side} {WANTED[name]}: {'met' if met else 'NOT MET'})   {note}", flush=True
    )
    return {name: round(value, 4)}


def torch_ratios(kind, folder):
    """Return the ratios of the models in PyTorch, plain or compiled."""
    told, ratios = ask(python_of(TRANSFORMERS[-1]), WORKER, "speed", kind, folder), {}
    for batch in (1, 8):
        seconds = told[f"batch {batch}"]["seconds"]
        ours, theirs = (statistics.median(seconds[name]) for name in ("ours", "theirs"))
        share = batch * told["flops"] / ours / told["gemm_rate"]
        note = f"ours {ours:.3f} s, theirs {theirs:.3f} s; {share:.2f} of the rate of products"
        ratios |= say(f"{kind} {batch}", theirs / ours, note)
    return ratios | (say("compiled share 8", share) if kind == "compiled" else {})


def start_ratios(folder):
    """Return seconds and peak memory of a first answer, ours over theirs."""
    python = python_of(TRANSFORMERS[-1])
    told = {"ours": [], "theirs": []}
    for _ in range(STARTS):
        for name in told:
            told[name].append(ask(python, WORKER, "start", name, folder))
    ours, theirs = ({key: statistics.median(one[key] for one in told[name]) for key in ("seconds", "peak")}
                    for name in ("ours", "theirs"))  # fmt: skip
    note = f"ours {ours['seconds']:.2f} s, theirs {theirs['seconds']:.2f} s"
    ratios = say("start seconds", ours["seconds"] / theirs["seconds"], note)
    note = f"ours {ours['peak'] / 2**20:.0f} MiB, theirs {theirs['peak'] / 2**20:.0f} MiB"
    return ratios | say("start memory", ours["peak"] / theirs["peak"], note)


def export(model, output, *options):
    """Run `beit export`."""
    command = [sys.executable, "-m", "beit", "export", str(model), f"--output={output}", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})


def exported_ratios(folder, place):
    """Return the speed of our exported files over that of a plain export of the model of transformers."""
    ratios = {}
    for to in ("openvino", "onnx"):
        export(folder, place / to, f"--to={to}")
        told = ask(sys.executable, EXPORTS, "speed", to, folder, str(place / to))
        for batch in (1, 8):
            ours, theirs = (statistics.median(told[f"batch {batch}"][name]) for name in ("ours", "theirs"))
            ratios |= say(f"{to} {batch}", theirs / ours, f"ours {ours:.3f} s, theirs {theirs:.3f} s")
    return ratios


def int8_ratios(folder, place):
    """Return how much faster 8 bits are than our model in PyTorch, and how alike their answers are."""
    ratios, eight = {}, place / "int8"
    export(folder, eight, "--to=openvino", "--precision=int8", f"--calibration={PHOTOGRAPHS}")
    told = ask(sys.executable, EXPORTS, "int8", folder, str(eight), str(PHOTOGRAPHS))
    for batch in (1, 8):
        ours, torch = (statistics.median(told[f"batch {batch}"][name]) for name in ("ours", "torch"))
        ratios |= say(f"int8 {batch}", torch / ours, f"int8 {ours:.3f} s, float32 in PyTorch {torch:.3f} s")
    ratios |= say("int8 cosine", told["cosine"], "the lowest of all photographs")
    # every label of CIFAR-10, as many steps as the headline's classifiers
    whole = next(iter(SHARES))
    train([(TINY, classifier(whole, 0, ["--checkpoint=null", "--model.size=tiny", "--model.patch_size=4"]))])
    some = place / "some"
    ask(sys.executable, EXPORTS, "pictures", str(PICTURES / "train.parquet"), str(some))
    export(TINY / "model", place / "tiny", "--to=openvino", "--precision=int8", f"--calibration={some}")
    told = ask(sys.executable, EXPORTS, "agreement", str(TINY / "model"), str(place / "tiny"),
               str(PICTURES / "test.parquet"))  # fmt: skip
    note = f"of {told['pictures']} pictures; right: float32 {told['right']:.1%}, int8 {told['right_int8']:.1%}"
    return ratios | say("int8 agreement", told["agreement"], note)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("eager", "compiled", "start", "exported", "int8")
    parser.add_argument("--part", choices=parts, action="append", help="only this part; may be repeated")
    chosen = parser.parse_args().part or parts
    ratios = {}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        folder = str(place / "model")
        ask(sys.executable, EXPORTS, "save", folder)
        for kind in ("eager", "compiled"):
            ratios |= torch_ratios(kind, folder) if kind in chosen else {}
        ratios |= start_ratios(folder) if "start" in chosen else {}
        ratios |= exported_ratios(folder, place) if "exported" in chosen else {}
        ratios |= int8_ratios(folder, place) if "int8" in chosen else {}
    if set(chosen) == set(parts):
        peers = {"transformers": TRANSFORMERS[-1], "transformers, exported": "that of this environment"}
        write_result(RESULT, {"peers": peers, "ratios": ratios}, "torch", "openvino", "onnxruntime", "transformers")
    missed = [name for name, value in ratios.items()
              if (value > WANTED[name] if name in AT_MOST else value < WANTED[name])]  # fmt: skip
    print(f"wanted and not met: {', '.join(missed)}" if missed else "all that was wanted is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
