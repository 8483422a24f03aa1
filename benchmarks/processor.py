"""Image processor against that of transformers, in one run.

    python benchmarks/processor.py [FOLDER]

Batches of 32 real pictures, resized to 256 and cropped to 224. All implementations take turns, each in a process and an
environment of its own; the median of several rounds counts. Ratios hold, times are those of one machine. Recorded in
results/bench. `--quick` takes fewer rounds and the newest transformers alone.
"""

import statistics
import sys
from pathlib import Path

from peers import TRANSFORMERS, Worker, python_of
from pictures import photographs
from ratios import parser, share, speed
from records import finish

ROUNDS, QUICK_ROUNDS = 7, 5
CASES = {
    "decoded, 2 cores": (2, "decoded", 3.0),
    "decoded, 1 core": (1, "decoded", 1.8),
    "with decoding, 2 cores": (2, "files", 1.6),
}
WORKER = Path(__file__).parent / "processor_worker.py"


def measure(folder, cores, what, peers, rounds):
    """Return the answers of every implementation, one per round."""
    workers = {"ours": Worker(sys.executable, WORKER, "ours", folder, cores)}
    workers |= {name: Worker(python_of(name), WORKER, "transformers", folder, cores) for name in peers}
    answers = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            answers[name].append(worker.ask(what))
    for worker in workers.values():
        worker.close()
    return answers


def compared(case, answers, wanted):
    """Return the ratios of one case: speed, and peak memory over what the idle process held."""
    ratios, (ours, *theirs) = [], answers.items()
    for version, given in theirs:
        against = f"transformers {version}"
        both = ([answer["seconds"] for answer in answers] for answers in (ours[1], given))
        ratios.append(speed(f"processor, {case}", against, *both, wanted))
        peaks = ([answers[-1]["peak"]] for answers in (ours[1], given))  # of all rounds
        ratios.append(share(f"processor, {case}: memory", against, *peaks, "MiB"))
    return ratios


def summary(given):
    """Return the median and the extremes of one implementation's answers."""
    seconds = [answer["seconds"] for answer in given]
    return {
        "seconds": statistics.median(seconds),
        "spread": [round(min(seconds), 4), round(max(seconds), 4)],
        "resize": statistics.median(answer["resize"] for answer in given),
        "peak": given[-1]["peak"],
    }


def main():
    options = parser(__doc__)
    options.add_argument("folder", nargs="?", type=Path, help="of pictures")
    given = options.parse_args()
    folder, kind = (given.folder, "those named") if given.folder else photographs()
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder of pictures; name one")
    rounds, peers = (QUICK_ROUNDS, TRANSFORMERS[-1:]) if given.quick else (ROUNDS, TRANSFORMERS)
    ratios, cases = [], {}
    for case, (cores, what, wanted) in CASES.items():
        answers = measure(folder, cores, what, peers, rounds)
        case_ratios = compared(case, answers, wanted)
        measured = {name: summary(answers) for name, answers in answers.items()}
        print(*case_ratios, f"{'':<44} {measured['ours']['resize']:.0%} of our time inside Pillow's resize", sep="\n")
        cases[case] = {
            "ratios": {name: round(ratio.median, 2) for name, ratio in zip(peers, case_ratios[::2], strict=True)},
            "memory": {name: round(ratio.median, 2) for name, ratio in zip(peers, case_ratios[1::2], strict=True)},
            "seconds": measured,
            "share_in_resize": round(measured["ours"]["resize"], 3),
        }
        ratios += case_ratios
    numbers = {"pictures": kind, "rounds": rounds, "cases": cases}
    return finish(given, ratios, "processor", numbers, "numpy", "Pillow")


if __name__ == "__main__":
    sys.exit(main())
