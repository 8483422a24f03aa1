"""Everything that has to be known of a GPU, in one program of at most eight minutes.

    python benchmarks/gpu.py                               # all parts; results/gpu.json after every part
    python benchmarks/gpu.py --parts heads,pretraining     # some of them
    python benchmarks/gpu.py --tiny                        # every branch in small, also on a CPU

Every part is a process of its own: what fails or runs out of memory is noted, and the next one begins; what hangs is
ended when half of the time that was left is over. The parts
and what they measure are listed in gpu_parts.py.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

import gpu_parts
from about import write_result
from peers import ROOT

RESULT = Path(__file__).parent / "results" / "gpu.json"
TAIL = 600  # characters of an error that are kept
MARK = "result: "


def measure(name, tiny, seconds):
    """Return what a part measured within some seconds, or why it failed."""
    command = [sys.executable, __file__, "--part", name, *(["--tiny"] if tiny else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    began = time.monotonic()
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        ) as part:
            try:
                said, errors = part.communicate(timeout=seconds)
            finally:
                end_session(part)
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished after {seconds:.0f} s"}
    results = [line.removeprefix(MARK) for line in said.splitlines() if line.startswith(MARK)]
    if part.returncode or not results:
        return {"failed": errors.strip()[-TAIL:] or f"exit status {part.returncode}"}
    return {**json.loads(results[-1]), "seconds": round(time.monotonic() - began, 1)}


def end_session(part):
    """End a part and what it started, which would hold the GPU while the next one is measured."""
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(part.pid, signal.SIGKILL)


def device_name():
    """Return the name of the GPU, or that there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def run(parts, tiny, minutes, result):
    """Measure parts one after the other, write what is known after every one, and return those that failed."""
    ends, found = time.monotonic() + 60 * minutes, {}
    for name in parts:
        left = ends - time.monotonic()
        seconds = left if name == parts[-1] else left / 2  # one that hangs leaves time for the others
        found[name] = measure(name, tiny, seconds) if left > 0 else {"failed": f"the {minutes:g} minutes are over"}
        write_result(result, {"gpu": device_name(), "tiny": tiny, "parts": found}, "torch", "numpy")
        print(name, json.dumps(found[name]), flush=True)
    return [name for name in parts if "failed" in found[name]]


def options():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(gpu_parts.PARTS), help="some of %(default)s")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts; default: %(default)s")
    parser.add_argument("--tiny", action="store_true", help="all in small, also without a GPU")
    parser.add_argument("--out", type=Path, default=RESULT, help="default: %(default)s")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # measured in this process
    given = parser.parse_args()
    given.parts = given.parts.split(",")
    if unknown := set(given.parts) - set(gpu_parts.PARTS):
        parser.error(f"--parts has {', '.join(sorted(unknown))}; expected some of {', '.join(gpu_parts.PARTS)}")
    if not given.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU; --tiny runs every part in small on a CPU")
    return given


def main():
    given = options()
    if given.part:
        print(MARK + json.dumps(gpu_parts.PARTS[given.part](gpu_parts.sizes(given.tiny))))
        return None
    failed = run(given.parts, given.tiny, given.minutes, given.out)
    return f"failed: {', '.join(failed)}" if failed else None


if __name__ == "__main__":
    sys.exit(main())
