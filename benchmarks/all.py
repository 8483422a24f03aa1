"""Run of all comparisons with peers, one after the other, within half an hour on two cores.

    python benchmarks/all.py                    measure everything; what `make bench` does
    python benchmarks/all.py tokenizer service  only these; what else is recorded stays
    python benchmarks/all.py --table            put the tables of results/ into docs/benchmarks.md

Each benchmark runs in a process of its own with `--quick`, which is a program of its own as well. One that fails does
not stop the others: it is named at the end, and the status is 1. What is measured goes into the record of this kind of
processor in results/bench, and into the chart of all kinds, results/bench.png.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chart import draw
from ratios import Ratio
from records import FOLDER, comparisons, record, records
from table import COLUMNS, ROOT, rewrite

HERE = Path(__file__).parent
BENCHMARKS = ("block_masks", "processor", "tokenizer", "pretrain_step", "small_step", "finetune_step", "segmentation",
              "flax_forward", "inference", "start", "service", "cost")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--table", action="store_true", help="only rewrite the table in the documents")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    return rewrite() if given.table else measure(given.names or BENCHMARKS, HERE, FOLDER)


def measure(names, folder, place):
    """Run benchmarks, record them in a folder, and show their ratios in one table; return the status to exit with."""
    ratios, failed, began = [], [], time.monotonic()
    for name in names:
        print(f"\n{name}", flush=True)
        answer = run(folder / f"{name}.py")
        if answer is None:
            failed.append(name)
        elif answer["ratios"]:
            record({name: answer}, place)
            ratios += [Ratio(**entry) for entry in answer["ratios"]]
    show(ratios, (time.monotonic() - began) / 60)
    draw(comparisons(records(place)), place.with_suffix(".png"))
    return f"failed: {', '.join(failed)}" if failed else 0


def run(script):
    """Return the numbers of a benchmark and its seconds, or None if it measured nothing."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    environment.pop("OMP_NUM_THREADS", None)  # every benchmark uses all cores, unless it says otherwise
    with tempfile.TemporaryDirectory() as place:
        file, began = Path(place) / "ratios.json", time.monotonic()
        subprocess.run([sys.executable, script, "--quick", "--ratios", file], env=environment)
        if not file.exists():
            return None
        return {**json.loads(file.read_text()), "seconds": round(time.monotonic() - began)}


def show(ratios, minutes):
    """Print one table of all ratios, and those that miss their target."""
    table = [COLUMNS, *(ratio.columns() for ratio in ratios)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print()
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    missed = [f"{ratio.what} ({ratio.against})" for ratio in ratios if not ratio.met]
    print(f"\n{minutes:.0f} minutes;", f"wanted and not met: {', '.join(missed)}" if missed else "all is met")


if __name__ == "__main__":
    sys.exit(main())
