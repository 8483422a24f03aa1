"""The test pictures of CIFAR-10, for the last step of a benchmark and nothing before it.

This is the only file that names them. They are given to a function `measure_on_test` of a program, once what it
measures is finished: the run folder holds the result of its training, or the settings that were chosen for a probe.
Every access is recorded in the run folder, and an accuracy that is there is not measured again.
`tests/benchmarks/test_test_pictures.py` reads the sources and holds the programs to this.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

from beit.data import open_source
from cifar10 import PICTURES, arrays

ACCESSES, ACCURACY = "test_accesses.jsonl", "test.json"
FINISHED = ("result.json", "chosen.json")  # of a training, of a probe


def path_for(run, pictures=PICTURES):
    """Return the path of the test pictures, for the finished run in this folder, and record the access there."""
    run, file = Path(run), Path(pictures) / "test.parquet"
    if not any((run / name).exists() for name in FINISHED):
        raise SystemExit(f"{run} is not finished, so it gets no test pictures; expected one of {', '.join(FINISHED)}")
    if not file.exists():
        raise SystemExit(f"there are no test pictures in {pictures}")
    line = {"time": datetime.now().astimezone().isoformat(timespec="seconds"), "program": Path(sys.argv[0]).name}
    with (run / ACCESSES).open("a") as record:
        record.write(json.dumps(line) + "\n")
    return file


def accuracy_on_test(run, judge):
    """Return the accuracy on the test pictures, and keep it in the run folder.

    Args:
        run: The finished run.
        judge: Takes pixels (P, 32, 32, 3) and classes (P,), and returns an accuracy.
    """
    kept = Path(run) / ACCURACY
    if not kept.exists():
        pixels, labels = arrays(open_source(str(path_for(run))))
        kept.write_text(json.dumps({"accuracy": judge(pixels, labels), "pictures": len(labels)}) + "\n")
    return json.loads(kept.read_text())["accuracy"]


def accesses(run):
    """Return how often a run was given the test pictures."""
    record = Path(run) / ACCESSES
    return len(record.read_text().splitlines()) if record.exists() else 0
