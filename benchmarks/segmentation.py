"""Segmentation by a base BEiT with UperNet at 640 x 640 pixels: ours against transformers (sdpa), in one process.

    python benchmarks/segmentation.py

The two take turns with the same weights; the median counts. Peak memory is measured in processes of their own, that of
ours for a scene of 2048 x 1024 pixels too, in windows of 640. Recorded in results/bench. Ratios hold, times are
those of one machine. `--quick` takes fewer rounds and no scene.
"""

import sys
from pathlib import Path

from peers import TRANSFORMERS, ask, python_of
from ratios import parser, share, speed
from records import finish

WORKER = Path(__file__).parent / "segmentation_worker.py"
LEAST_SPEED, MOST_MEMORY, MOST_SCENE = 1.2, 0.8, 2e9
ROUNDS, QUICK_ROUNDS = 5, 3
BOTH = ("ours", "theirs")


def main():
    given = parser(__doc__).parse_args()
    python = python_of(TRANSFORMERS[-1])
    result = ask(python, WORKER, "speed", str(QUICK_ROUNDS if given.quick else ROUNDS))
    memory = {name: ask(python, WORKER, "memory", name)["peak"] for name in BOTH}
    what, against = "segmentation at 640 pixels", f"transformers {result['versions']['transformers']}"
    ratios = [
        speed(what, against, *(result[name] for name in BOTH), LEAST_SPEED),
        share(f"{what}: memory", against, *([memory[name]] for name in BOTH), "MiB", MOST_MEMORY),
    ]
    scene = None if given.quick else ask(python, WORKER, "scene")
    if scene:
        limit = f"a limit of {MOST_SCENE / 1e9:.0f} GB"
        ratios.append(share("scene of 2048 x 1024: memory", limit, [scene["process_peak"]], [MOST_SCENE], "MiB", 1.0))
    print(*ratios, sep="\n")
    print(f"largest difference of the scores: {result['difference']:.2e} of {result['largest']:.2f}")
    numbers = {
        "peers": result["versions"],
        "speed_ratio": round(ratios[0].median, 3),
        "memory_ratio": round(ratios[1].median, 3),
        "difference": result["difference"],
        "seconds": {name: [round(value, 3) for value in result[name]] for name in BOTH},
        "peak_bytes": memory,
        "scene": scene,
    }
    return finish(given, ratios, "segmentation", numbers)


if __name__ == "__main__":
    sys.exit(main())
