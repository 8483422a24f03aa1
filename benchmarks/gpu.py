"""Everything that has to be known of a GPU, in one program of at most eight minutes.

    python benchmarks/gpu.py                               # all parts; results/gpu.json after every part
    python benchmarks/gpu.py --parts heads,pretraining     # some of them
    python benchmarks/gpu.py --tiny                        # every branch in small, also on a CPU

Every part is a process of its own, which begins with everything imported: what fails or runs out of memory is noted,
and the next one begins; what hangs is ended when half of the time that was left is over, and leaves what it has
measured until then. The headline has minutes of its own, which the others leave to it.
The parts and what they measure are listed in gpu_parts.py. In the end the numbers stand beside what is hoped for.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import signal
import sys
import time
import traceback
from functools import cache
from pathlib import Path

import torch

import gpu_parts
from about import write_result
from beit.engine.paper import gpu_named
from beit.errors import ConfigError
from peers import with_source

RESULT = Path(__file__).parent / "results" / "gpu.json"
HOPED = {"utilisation": 0.45, "times transformers": 1.3, "memory of attention": 0.5}  # the last is at most so much
TAIL = 600  # characters of an error that are kept
HEADLINE = "headline"
STARTED = 120  # seconds in which everything should be imported


def measure(name, tiny, seconds):
    """Return what a part measured within some seconds of its beginning, or why it failed."""
    processes = begun_with_imports()
    here, there = processes.Pipe(duplex=False)
    part = processes.Process(target=answer, args=(there, gpu_parts.PARTS[name], tiny, seconds))
    part.start()
    there.close()
    here.poll(STARTED)  # for its first word, which says no number
    began = time.monotonic()
    try:
        found = received(here, seconds)
        if "failed" in found and not found["failed"]:
            part.join()
            found["failed"] = f"exit status {part.exitcode}"
    finally:
        end_session(part)
    return {**found, "seconds": round(time.monotonic() - began, 1)}


@cache
def begun_with_imports():
    """Return the kind of processes that begin with the parts imported, which takes longer than some of them do."""
    path = [str(Path(__file__).parent), with_source()["PYTHONPATH"]]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)  # Python before 3.12.4 forgets sys.path there, and imports nothing
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["gpu_parts"])
    return processes


def received(here, seconds):
    """Return what a part sends within some seconds, with why it failed if it did: "" where it ended without a word."""
    found, ends = {}, time.monotonic() + seconds
    while "failed" not in found:
        try:
            in_time = here.poll(max(0.0, ends - time.monotonic()))
            message = here.recv() if in_time else {"failed": f"not finished after {seconds:.0f} s"}
        except EOFError:
            message = {"failed": ""}
        if message is None:  # it is finished
            break
        found |= message
    return found


def answer(there, part, tiny, seconds):
    """Measure a part, in a session of its own, and send what it has measured after every number of it, or its error."""
    os.setsid()
    there.send({})  # all is imported
    try:
        for found in gpu_parts.numbers_of(part, gpu_parts.sizes(tiny, seconds)):
            there.send(found)
        there.send(None)
    except Exception:
        there.send({"failed": traceback.format_exc().strip()[-TAIL:]})


def end_session(part):
    """End a part and what it started, which would hold the GPU while the next one is measured."""
    with contextlib.suppress(ProcessLookupError):  # all have ended, or the part has no session yet
        os.killpg(part.pid, signal.SIGKILL)
    part.kill()
    part.join()


def device_name():
    """Return the name of the GPU, or that there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def run(parts, tiny, minutes, result, of_headline=0.0):
    """Measure parts one after the other, write what is known after every one, and return those that failed.

    The headline comes last: it has `of_headline` minutes at least, and what the others leave.
    """
    others = [name for name in parts if name != HEADLINE]
    parts = [*others, *([HEADLINE] if HEADLINE in parts else [])]
    ends, found = time.monotonic() + 60 * minutes, {}
    for name in parts:
        kept = 60 * of_headline if parts[-1] == HEADLINE != name else 0.0
        left = ends - kept - time.monotonic()
        seconds = left if name in (*others[-1:], HEADLINE) else left / 2  # one that hangs leaves time for the others
        found[name] = measure(name, tiny, seconds) if left > 0 else {"failed": f"the {minutes:g} minutes are over"}
        numbers = {"gpu": device_name(), "tiny": tiny, "parts": found, "hoped": beside_hopes(found, device_name())}
        write_result(result, numbers, "torch", "numpy")
        print(name, json.dumps(found[name]), flush=True)
    return [name for name in parts if "failed" in found[name]]


def beside_hopes(found, gpu):
    """Return the numbers of which something is hoped, each the best that was measured, with what that is."""
    steps, peers = measured(found.get("pretraining", {})), measured(found.get("peers", {}))
    own = {name: step["with stored tokens"] for name, step in steps.items() if "with stored tokens" in step}
    theirs = {batch: step for batch, step in peers.items() if "images_per_second" in step}
    attention = found.get("attention", {})
    numbers = {
        "utilisation": [1e12 * step["tflops"] / peak for step in own.values() for peak in peak_of(gpu)],
        "times transformers": [
            step["images_per_second"] / theirs[name.split()[0]]["images_per_second"]
            for name, step in own.items()
            if name.split()[0] in theirs
        ],
        "memory of attention": [attention["memory_ratio"]] if "memory_ratio" in attention else [],
    }
    return {name: {"measured": round(max(some), 3), "hoped": HOPED[name]} for name, some in numbers.items() if some}


def measured(part):
    """Return what a part has measured, without its seconds and versions."""
    return {name: numbers for name, numbers in part.items() if isinstance(numbers, dict)}


def peak_of(gpu):
    """Return the peak in bf16, in operations a second, of a GPU whose data sheet is known; else nothing."""
    peaks = []
    for word in re.split(r"[\s-]", gpu):
        with contextlib.suppress(ConfigError):  # "NVIDIA", and those that are not known
            peaks.append(gpu_named(word).bf16)
    return peaks


def options():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(gpu_parts.PARTS), help="some of %(default)s")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts; default: %(default)s")
    parser.add_argument(
        "--headline-minutes", type=float, default=2.5, help="of them for the headline; default: %(default)s"
    )
    parser.add_argument("--tiny", action="store_true", help="all in small, also without a GPU")
    parser.add_argument("--out", type=Path, default=RESULT, help="default: %(default)s")
    given = parser.parse_args()
    given.parts = given.parts.split(",")
    if unknown := set(given.parts) - set(gpu_parts.PARTS):
        parser.error(f"--parts has {', '.join(sorted(unknown))}; expected some of {', '.join(gpu_parts.PARTS)}")
    if not given.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU; --tiny runs every part in small on a CPU")
    return given


def main():
    given = options()
    failed = run(given.parts, given.tiny, given.minutes, given.out, given.headline_minutes)
    return f"failed: {', '.join(failed)}" if failed else None


if __name__ == "__main__":
    sys.exit(main())
