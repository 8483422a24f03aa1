"""A base BEiT with UperNet at 640 x 640 pixels, one picture: ours against transformers with sdpa, in one process.

    python benchmarks/segmentation.py

The two take turns with the same weights; the median counts. Peak memory is measured in processes of their own, that of
ours for a scene of 2048 x 1024 pixels too, in windows of 640. Writes results/segmentation.json. Ratios hold, times are
those of one machine.
"""

import statistics
import sys
from pathlib import Path

from about import write_result
from peers import TRANSFORMERS, ask, python_of

RESULT = Path(__file__).parent / "results" / "segmentation.json"
WORKER = Path(__file__).parent / "segmentation_worker.py"
LEAST_SPEED, MOST_MEMORY, MOST_SCENE = 1.2, 0.8, 2e9


def main():
    python = python_of(TRANSFORMERS[-1])
    speed = ask(python, WORKER, "speed")
    memory = {name: ask(python, WORKER, "memory", name)["peak"] for name in ("ours", "theirs")}
    scene = ask(python, WORKER, "scene")
    medians = {name: statistics.median(speed[name]) for name in ("ours", "theirs")}
    ratio, share = medians["theirs"] / medians["ours"], memory["ours"] / memory["theirs"]
    print(f"seconds per picture   ours {medians['ours']:.2f}, theirs {medians['theirs']:.2f}: {ratio:.2f}x "
          f"(wanted {LEAST_SPEED}x)")  # fmt: skip
    print(f"largest difference of the scores   {speed['difference']:.2e} of {speed['largest']:.2f}")
    print(f"peak memory over the idle process   ours {memory['ours'] / 2**20:.0f} MiB, theirs "
          f"{memory['theirs'] / 2**20:.0f} MiB: {share:.2f} (wanted at most {MOST_MEMORY})")  # fmt: skip
    print(f"a scene of 2048 x 1024   {scene['seconds']:.0f} s, peak of the whole process "
          f"{scene['process_peak'] / 1e9:.2f} GB (wanted below {MOST_SCENE / 1e9:.0f} GB)")  # fmt: skip
    numbers = {
        "peers": speed["versions"],
        "speed_ratio": round(ratio, 3),
        "memory_ratio": round(share, 3),
        "difference": speed["difference"],
        "seconds": {name: [round(value, 3) for value in speed[name]] for name in ("ours", "theirs")},
        "peak_bytes": memory,
        "scene": scene,
    }
    write_result(RESULT, numbers)
    met = ratio >= LEAST_SPEED and share <= MOST_MEMORY and scene["process_peak"] < MOST_SCENE
    return 0 if met else "segmentation is not as good as wanted"


if __name__ == "__main__":
    sys.exit(main())
