"""The image processor against that of transformers, in one run.

    python benchmarks/processor.py [FOLDER]

Batches of 32 real pictures, resized to 256 and cropped to 224. All implementations take turns, each in a process and an
environment of its own; the median of several rounds counts. Ratios hold, times are those of one machine. Writes
results/processor.json.
"""

import statistics
import sys
from pathlib import Path

from about import write_result
from peers import ROOT, TRANSFORMERS, Worker, python_of

ROUNDS = 7
RESULT = Path(__file__).parent / "results" / "processor.json"
WORKER = Path(__file__).parent / "processor_worker.py"
PICTURES = ROOT.parent / "shared" / "data" / "imagenet_samples"


def measure(folder, cores, what):
    """Return the median seconds of every implementation, its share inside Pillow's resize, and its peak memory."""
    workers = {"ours": Worker(sys.executable, WORKER, "ours", folder, cores)}
    workers |= {name: Worker(python_of(name), WORKER, "transformers", folder, cores) for name in TRANSFORMERS}
    answers = {name: [] for name in workers}
    for _ in range(ROUNDS):
        for name, worker in workers.items():
            answers[name].append(worker.ask(what))
    for worker in workers.values():
        worker.close()
    return {
        name: {
            "seconds": statistics.median(answer["seconds"] for answer in given),
            "spread": [round(min(a["seconds"] for a in given), 4), round(max(a["seconds"] for a in given), 4)],
            "resize": statistics.median(answer["resize"] for answer in given),
            "peak": given[-1]["peak"],  # of all rounds, over what the idle process held
        }
        for name, given in answers.items()
    }


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder of pictures; name one")
    cases = {
        "decoded, 2 cores": (2, "decoded", 3.0),
        "decoded, 1 core": (1, "decoded", 1.8),
        "with decoding, 2 cores": (2, "files", 1.6),
    }
    result = {}
    for case, (cores, what, wanted) in cases.items():
        measured = measure(folder, cores, what)
        ours = measured.pop("ours")
        ratios = {name: round(theirs["seconds"] / ours["seconds"], 2) for name, theirs in measured.items()}
        memory = {name: round(ours["peak"] / max(theirs["peak"], 1), 2) for name, theirs in measured.items()}
        told = ", ".join(f"{ratio:.2f}x transformers {name}" for name, ratio in ratios.items())
        print(f"{case:<24}{told}   (wanted {wanted}x)   {ours['resize']:.0%} of our time inside Pillow's resize")
        held = ", ".join(f"{share:.2f} of {name}'s" for name, share in memory.items())
        print(f"{'':<24}peak memory over the idle process: {ours['peak'] / 2**20:.0f} MiB, {held}")
        result[case] = {
            "ratios": ratios,
            "memory": memory,
            "seconds": {"ours": ours, **measured},
            "share_in_resize": round(ours["resize"], 3),
        }
    write_result(RESULT, {"rounds": ROUNDS, "cases": result}, "numpy", "Pillow")


if __name__ == "__main__":
    main()
