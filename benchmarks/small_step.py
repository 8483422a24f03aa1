"""Step of pre-training a small model against transformers, in one process, taking turns.

    python benchmarks/small_step.py

Forward, loss, backward and AdamW of models of 12 and 6 layers of 192 on pictures of 32 x 32 (65 tokens), batch 64 and
256, in fp32 and in bf16 by autocast, with the same weights, pictures, masks and visual tokens. In small models all
but the products takes its share. Recorded in results/bench. `--quick` leaves out the batches of 256.
"""

import statistics
import sys
from pathlib import Path

from peers import TRANSFORMERS, ask, python_of
from ratios import parser, speed
from records import finish

WORKER = Path(__file__).parent / "training_step_worker.py"
LEAST_SPEED, LEAST_SHARE = 1.4, 0.75
ROUNDS, QUICK_ROUNDS = 7, 5


def main():
    given = parser(__doc__).parse_args()
    python, rounds = python_of(TRANSFORMERS[-1]), QUICK_ROUNDS if given.quick else ROUNDS
    ratios, numbers = [], {}
    for batch in (64,) if given.quick else (64, 256):
        for layers in (12, 6):
            for precision in ("fp32", "bf16"):
                name = f"{layers} x 192, batch {batch}"
                result = ask(python, WORKER, "speed", name, precision, str(rounds))
                what, against = (
                    f"pre-training step, {name}, {precision}",
                    f"transformers {result['versions']['transformers']}",
                )
                products = [result["flops"] / result["gemm_rate"]] * len(result["ours"])
                ratios += [
                    speed(what, against, result["ours"], result["theirs"], LEAST_SPEED),
                    speed(what, "its matrix products alone", result["ours"], products, LEAST_SHARE),
                ]
                print(*ratios[-2:], sep="\n", flush=True)
                numbers[f"{name}, {precision}"] = {
                    "images_per_second": {
                        who: round(batch / statistics.median(result[who]), 1) for who in ("ours", "theirs")
                    },
                    "speed_ratio": round(ratios[-2].median, 3),
                    "share_of_gemm_rate": round(ratios[-1].median, 3),
                    "loss": result["loss"],
                }
                versions = result["versions"]
    return finish(given, ratios, "small_step", {"peers": versions, "cases": numbers})


if __name__ == "__main__":
    sys.exit(main())
