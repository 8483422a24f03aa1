"""Inference of a base BEiT at 224 pixels, batch 1 and 8, two threads: ours against transformers, and 8-bit files.

    python benchmarks/inference.py [--part eager|compiled|start|exported|int8|agreement]

Everything that is compared takes turns in one process with the same weights; the median counts.

- eager and compiled: the float32 models in PyTorch, and the share of the rate that matrix products reach here.
- start: `import`, `from_pretrained` and the first answer to a picture, in processes of their own; memory is the peak of
  the whole process.
- exported: what `beit export` writes against a plain export of the model of transformers, by OpenVINO and onnxruntime.
- int8: OpenVINO's 8 bits against our float32 model, with the cosine of the logits on pictures as found in the wild.
- agreement: of the best class of 8 bits and float32, for a tiny model on CIFAR-10, which is trained first (ten minutes,
  once, in runs/).

Recorded in results/bench. Ratios hold, times are those of one machine. `--quick` leaves the agreement out.
"""

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from cifar10 import TRAIN
from peers import ROOT, TRANSFORMERS, ask, python_of
from pictures import photographs
from ratios import Ratio, parser, share, speed
from records import finish
from short_classifiers import classifier
from test_pictures import path_for
from trainings import train

WORKER = Path(__file__).parent / "inference_worker.py"
EXPORTS = Path(__file__).parent / "inference_exports_worker.py"
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
PARTS = ("eager", "compiled", "start", "exported", "int8", "agreement")
FLOAT = "our float32 in PyTorch"
STARTS = 5


def say(name, ratio, note=""):
    """Print a ratio, and return it by its name."""
    print(f"{ratio}   {note}".rstrip(), flush=True)
    return {name: ratio}


def torch_ratios(kind, folder):
    """Return the ratios of the models in PyTorch, plain or compiled."""
    result, ratios = ask(python_of(TRANSFORMERS[-1]), WORKER, "speed", kind, folder), {}
    for batch in (1, 8):
        what, name = f"answers, {kind}, batch {batch}", f"{kind} {batch}"
        ours, theirs = (result[f"batch {batch}"]["seconds"][name] for name in ("ours", "theirs"))
        ratios |= say(name, speed(what, f"transformers {result['versions']}", ours, theirs, WANTED[name]))
        if (name := f"{kind} share {batch}") in WANTED:
            alone = [batch * result["flops"] / result["gemm_rate"]] * len(ours)
            ratios |= say(name, speed(what, "its matrix products alone", ours, alone, WANTED[name]))
    return ratios


def start_ratios(folder):
    """Return seconds and peak memory of a first answer, ours over theirs."""
    python, against = python_of(TRANSFORMERS[-1]), f"transformers {TRANSFORMERS[-1]}"
    result = {"ours": [], "theirs": []}
    for _ in range(STARTS):
        for name in result:
            result[name].append(ask(python, WORKER, "start", name, folder))
    ratios = {}
    for what, key, unit in (("seconds", "seconds", "s"), ("memory", "peak", "MiB")):
        both, name = ([one[key] for one in result[name]] for name in ("ours", "theirs")), f"start {what}"
        ratios |= say(name, share(f"first answer: {what}", against, *both, unit, WANTED[name]))
    return ratios


def export(model, output, *options):
    """Run `beit export`."""
    command = [sys.executable, "-m", "beit", "export", str(model), f"--output={output}", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})


def exported_ratios(folder, place):
    """Return the speed of our exported files over that of a plain export of the model of transformers."""
    ratios = {}
    for to in ("openvino", "onnx"):
        export(folder, place / to, f"--to={to}")
        result = ask(sys.executable, EXPORTS, "speed", to, folder, str(place / to))
        for batch in (1, 8):
            both, name = (result[f"batch {batch}"][name] for name in ("ours", "theirs")), f"{to} {batch}"
            what, against = f"answers, {to}, batch {batch}", f"transformers {version('transformers')}, exported"
            ratios |= say(name, speed(what, against, *both, WANTED[name]))
    return ratios


def int8_ratios(folder, place):
    """Return how much faster 8 bits are than our model in PyTorch, and how alike their logits are."""
    ratios, eight = {}, place / "int8"
    pictures, _ = photographs()
    export(folder, eight, "--to=openvino", "--precision=int8", f"--calibration={pictures}")
    result = ask(sys.executable, EXPORTS, "int8", folder, str(eight), str(pictures))
    for batch in (1, 8):
        both, name = (result[f"batch {batch}"][name] for name in ("ours", "torch")), f"int8 {batch}"
        ratios |= say(name, speed(f"answers, 8 bits, batch {batch}", FLOAT, *both, WANTED[name]))
    return ratios | say("int8 cosine", alike("8 bits: least cosine of the logits", result["cosine"], "int8 cosine"))


def alike(what, value, name):
    """Return as a ratio how alike the answers of 8 bits are, which would be 1 if they were the same."""
    return Ratio(what, FLOAT, round(value, 4), 1.0, "", [value], WANTED[name])


def agreement_ratios(place):
    """Return how often 8 bits name the same class as float32, of pictures of CIFAR-10."""
    train([(TINY, classifier("100%", 0, ["--checkpoint=null", "--model.size=tiny", "--model.patch_size=4"]))])
    some = place / "some"
    ask(sys.executable, EXPORTS, "pictures", str(TRAIN), str(some))
    export(TINY / "model", place / "tiny", "--to=openvino", "--precision=int8", f"--calibration={some}")
    result = measure_on_test(place / "tiny")
    note = f"of {result['pictures']} pictures; right: float32 {result['right']:.1%}, int8 {result['right_int8']:.1%}"
    return say("int8 agreement", alike("8 bits: the same best class", result["agreement"], "int8 agreement"), note)


def measure_on_test(exported):
    """Return how often 8 bits and float32 agree on the test pictures."""
    return ask(sys.executable, EXPORTS, "agreement", str(TINY / "model"), str(exported), str(path_for(TINY)))


def main():
    options = parser(__doc__)
    options.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    given = options.parse_args()
    chosen, ratios = given.part or (PARTS[:-1] if given.quick else PARTS), {}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        folder = str(place / "model")
        ask(sys.executable, EXPORTS, "save", folder)
        for kind in ("eager", "compiled"):
            ratios |= torch_ratios(kind, folder) if kind in chosen else {}
        ratios |= start_ratios(folder) if "start" in chosen else {}
        ratios |= exported_ratios(folder, place) if "exported" in chosen else {}
        ratios |= int8_ratios(folder, place) if "int8" in chosen else {}
        ratios |= agreement_ratios(place) if "agreement" in chosen else {}
    given.quick |= set(chosen) != set(PARTS)  # parts are no full measurement either
    peers = {"transformers": TRANSFORMERS[-1], "transformers, exported": "that of this environment"}
    numbers = {"peers": peers, "ratios": {name: round(ratio.median, 4) for name, ratio in ratios.items()}}
    packages = "torch", "openvino", "onnxruntime", "transformers"
    return finish(given, list(ratios.values()), "inference", numbers, *packages)


if __name__ == "__main__":
    sys.exit(main())
