"""Step of pre-training a base model against transformers, in one process, taking turns.

    python benchmarks/pretrain_step.py

Forward, loss, backward and AdamW at 224 pixels, batch 8, float32, with the same weights, pictures, masks and visual
tokens. Both run in the environment of the pinned transformers, theirs with scaled_dot_product_attention. Memory is
measured in a process each. Recorded in results/bench. `--quick` takes fewer rounds.
"""

import statistics
import sys
from pathlib import Path

from peers import TRANSFORMERS, ask, python_of
from ratios import parser, share, speed
from records import finish

WORKER = Path(__file__).parent / "training_step_worker.py"
LEAST_SPEED, MOST_MEMORY = 1.15, 0.85
ROUNDS, QUICK_ROUNDS = 7, 5
BOTH = ("ours", "theirs")


def main():
    given = parser(__doc__).parse_args()
    python = python_of(TRANSFORMERS[-1])
    result = ask(python, WORKER, "speed", "base", "fp32", str(QUICK_ROUNDS if given.quick else ROUNDS))
    memory = {name: ask(python, WORKER, "memory", "base", name)["peak"] for name in BOTH}
    what, against = f"pre-training step, batch {result['batch']}", f"transformers {result['versions']['transformers']}"
    products = [result["flops"] / result["gemm_rate"]] * len(result["ours"])
    ratios = [
        speed(what, against, *(result[name] for name in BOTH), LEAST_SPEED),
        share(f"{what}: memory", against, *([memory[name]] for name in BOTH), "MiB", MOST_MEMORY),
        speed(what, "its matrix products alone", result["ours"], products),
    ]
    print(*ratios, sep="\n")
    print(f"loss of the first step: ours {result['loss']['ours']:.6f}, theirs {result['loss']['theirs']:.6f}")
    numbers = {
        "peers": result["versions"],
        "speed_ratio": round(ratios[0].median, 3),
        "memory_ratio": round(ratios[1].median, 3),
        "share_of_gemm_rate": round(ratios[2].median, 3),
        "seconds": {name: [round(value, 3) for value in result[name]] for name in BOTH},
        "images_per_second": {name: round(result["batch"] / statistics.median(result[name]), 2) for name in BOTH},
        "peak_bytes": memory,
    }
    return finish(given, ratios, "pretrain_step", numbers)


if __name__ == "__main__":
    sys.exit(main())
