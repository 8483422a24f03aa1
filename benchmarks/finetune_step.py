"""Steps of fine-tuning and of segmentation training against transformers, in one process, taking turns.

    python benchmarks/finetune_step.py

Forward, loss, backward, clipping and AdamW with layer-wise learning-rate decay: a base classifier at 224 pixels, one of
12 layers of 192 for pictures of 32 x 32 with the soft labels of mixup, in fp32 and in bf16 by autocast, and a segmenter
with UperNet, with the same weights and batches. Recorded in results/bench. `--quick` takes fewer rounds.
"""

import statistics
import sys
from pathlib import Path

from peers import TRANSFORMERS, ask, python_of
from ratios import parser, speed
from records import finish

WORKER = Path(__file__).parent / "training_step_worker.py"
CASES = {
    "fine-tuning, base, batch 8": ("fp32",),
    "fine-tuning, 12 x 192, batch 64": ("fp32", "bf16"),
    "segmentation, 12 x 192 at 224, batch 4": ("fp32",),
}
LEAST_SPEED, LEAST_SHARE = 1.0, 0.75
ROUNDS, QUICK_ROUNDS = 7, 4


def main():
    given = parser(__doc__).parse_args()
    python, rounds = python_of(TRANSFORMERS[-1]), QUICK_ROUNDS if given.quick else ROUNDS
    ratios, numbers, versions = [], {}, {}
    for name, precisions in CASES.items():
        for precision in precisions:
            result = ask(python, WORKER, "speed", name, precision, str(rounds))
            versions = result["versions"]
            what = f"step, {name}, {precision}"
            new = [
                speed(what, f"transformers {versions['transformers']}", result["ours"], result["theirs"], LEAST_SPEED)
            ]
            if result["flops"]:
                products = [result["flops"] / result["gemm_rate"]] * len(result["ours"])
                new.append(speed(what, "its matrix products alone", result["ours"], products, LEAST_SHARE))
            print(*new, sep="\n", flush=True)
            ratios += new
            pictures = {who: round(result["batch"] / statistics.median(result[who]), 1) for who in ("ours", "theirs")}
            numbers[f"{name}, {precision}"] = {"images_per_second": pictures, "loss": result["loss"]}
    return finish(given, ratios, "finetune_step", {"peers": versions, "cases": numbers})


if __name__ == "__main__":
    sys.exit(main())
