"""One step of pre-training a base model against transformers, in one process, taking turns.

    python benchmarks/pretrain_step.py

Forward, loss, backward and AdamW at 224 pixels, batch 8, float32, with the same weights, pictures, masks and visual
tokens. Both run in the environment of the pinned transformers, theirs with scaled_dot_product_attention. Memory is
measured in a process each. Writes results/pretrain_step.json.
"""

import statistics
import sys
from pathlib import Path

from about import write_result
from peers import TRANSFORMERS, ask, python_of

RESULT = Path(__file__).parent / "results" / "pretrain_step.json"
WORKER = Path(__file__).parent / "pretrain_step_worker.py"
LEAST_SPEED, MOST_MEMORY = 1.15, 0.85


def main():
    python = python_of(TRANSFORMERS[-1])
    speed = ask(python, WORKER, "speed")
    medians = {name: statistics.median(speed[name]) for name in ("ours", "theirs")}
    ratio = medians["theirs"] / medians["ours"]
    memory = {name: ask(python, WORKER, "memory", name)["peak"] for name in ("ours", "theirs")}
    share = memory["ours"] / memory["theirs"]
    reached = speed["flops"] / medians["ours"] / speed["gemm_rate"]
    rates = {name: speed["batch"] / seconds for name, seconds in medians.items()}
    print(f"images per second   ours {rates['ours']:.2f}, theirs {rates['theirs']:.2f}: {ratio:.2f}x", end=" ")
    print(f"(wanted {LEAST_SPEED}x)")
    print(f"of the rate of a matrix product on this machine   {reached:.2f}")
    print(f"peak memory over the idle process   ours {memory['ours'] / 2**20:.0f} MiB, theirs "
          f"{memory['theirs'] / 2**20:.0f} MiB: {share:.2f} (wanted at most {MOST_MEMORY})")  # fmt: skip
    print(f"loss of the first step   ours {speed['loss']['ours']:.6f}, theirs {speed['loss']['theirs']:.6f}")
    numbers = {
        "peers": speed["versions"],
        "speed_ratio": round(ratio, 3),
        "memory_ratio": round(share, 3),
        "share_of_gemm_rate": round(reached, 3),
        "seconds": {name: [round(value, 3) for value in speed[name]] for name in ("ours", "theirs")},
        "peak_bytes": memory,
    }
    write_result(RESULT, numbers)


if __name__ == "__main__":
    sys.exit(main())
