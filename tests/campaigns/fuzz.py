"""`make fuzz`: damaged files of every kind, read in processes that are watched.

Every input ends in a result or a `BeitError`. Anything else is a finding: another exception, a crash, a hang, memory
beyond the bound, a program that is started or a connection that is opened. Findings are kept as files, with what
happened in a `.txt` beside each, and the same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.process
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import torch

from beit.errors import BeitError
from tests.campaigns.mutations import mutated
from tests.campaigns.target import Target
from tests.campaigns.targets import targets
from tests.watchdog import TooLongError, assert_within

SECONDS, MEGABYTES = 10, 2048  # of one input; seconds of processors
PATIENCE = 9  # times as many seconds without an input that ends: more than its watchdog has, so the process is killed
SORTS = ("crash", "hang", "execution", "exception", "memory", "message")
BATCH = 100  # inputs of one process
# names are looked up first, and without a network nothing follows
EXECUTIONS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "socket.connect",
              "socket.getaddrinfo", "socket.gethostbyname")  # fmt: skip


class ExecutionError(BaseException):
    """Raised where a reader starts a program or opens a connection."""


@dataclass
class Campaign:
    """Outcome of a campaign.

    Attributes:
        inputs: How many were read.
        answers: Those that were read without an error.
        findings: How many there are of each sort.
    """

    inputs: int
    answers: int
    findings: Counter[str]


def fuzz(kinds: dict[str, Target], seed: int, seconds: float, findings: Path) -> Campaign:
    """Read damaged files until the time is over."""
    campaign, batch, deadline = Campaign(0, 0, Counter()), 0, time.monotonic() + seconds
    context = multiprocessing.get_context("fork")
    while time.monotonic() < deadline:
        name = list(kinds)[batch % len(kinds)]
        done, answers = context.Value("i", 0), context.Value("i", 0)
        arguments = (kinds[name], name, f"{seed}-{batch}", findings, done, answers, deadline)
        process = context.Process(target=_batch, args=arguments)
        process.start()
        hung = _hangs(process, done)
        if hung or process.exitcode:
            sort = "hang" if hung else "crash"
            content = _input(kinds[name], f"{seed}-{batch}", done.value)
            said = f"the process ended with {process.exitcode}"
            _keep(findings, name, f"{seed}-{batch}-{done.value}", content, sort, said)
        campaign.inputs += done.value + (1 if hung or process.exitcode else 0)
        campaign.answers += answers.value
        batch += 1
    campaign.findings = Counter(path.name.split(".")[-2] for path in findings.glob("*.txt"))
    return campaign


def _hangs(process: multiprocessing.process.BaseProcess, done: Synchronized[int]) -> bool:
    """Wait for a batch; kill it, and return true, where an input holds it beyond its own watchdog."""
    before, since = -1, time.monotonic()
    while process.is_alive():
        process.join(0.2)
        if done.value != before:
            before, since = done.value, time.monotonic()
        elif time.monotonic() - since > PATIENCE * SECONDS:
            process.kill()
            process.join()
            return True
    return False


def _input(target: Target, batch: str, number: int) -> bytes:
    return mutated(random.Random(f"{batch}-{number}"), target.sound)  # noqa: S311


def _batch(target: Target, name: str, batch: str, findings: Path, done, answers, deadline: float) -> None:
    """Read a batch of inputs in this process."""
    warnings.simplefilter("ignore")
    sys.addaudithook(_audit)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for number in range(BATCH):
        if time.monotonic() > deadline:
            return
        content = _input(target, batch, number)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
            sort, said = _outcome(target, target.write(content, Path(folder) / "fuzzed"))
        answers.value += sort == "answer"
        if sort not in ("answer", "error"):
            _keep(findings, name, f"{batch}-{number}", content, sort, said)
        done.value += 1


def _outcome(target: Target, path: Path) -> tuple[str, str]:
    try:
        with assert_within(SECONDS, MEGABYTES):
            target.read(path)
    except BeitError as error:
        said = str(error)
        return ("error", "") if said and len(said) <= 4000 and "\n" not in said.strip() else ("message", said)
    except TooLongError:
        return "hang", traceback.format_exc()
    except MemoryError:
        return "memory", traceback.format_exc()
    except ExecutionError:
        return "execution", traceback.format_exc()
    except Exception:
        return "exception", traceback.format_exc()
    return "answer", ""


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in EXECUTIONS:
        raise ExecutionError(f"{event} {arguments}")


def _keep(findings: Path, name: str, number: str, content: bytes, sort: str, said: str) -> None:
    findings.mkdir(parents=True, exist_ok=True)
    place = findings / f"{name.replace(' ', '_')}-{number}.{sort}"
    place.write_bytes(content)
    place.with_name(f"{place.name}.txt").write_text(said)


def main() -> int:
    """Run a campaign, and print one line of figures at its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs="*", default=[], help="names of targets")
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    torch.set_num_threads(1)  # a forked process waits forever for threads of OpenMP that only its parent has
    with tempfile.TemporaryDirectory() as folder:
        kinds = {name: one for name, one in targets(Path(folder)).items() if not given.only or name in given.only}
        print(f"fuzz: seed {given.seed}, {len(kinds)} kinds of files, {given.seconds:g} s", flush=True)  # noqa: T201
        found = fuzz(kinds, given.seed, given.seconds, given.findings / str(given.seed))
    sorts = ", ".join(f"{found.findings[sort]} of {sort}" for sort in SORTS)
    kept = f"; they are in {given.findings / str(given.seed)}" if found.findings else ""
    figures = f"{found.inputs} inputs, {found.answers} of them read, seed {given.seed}"
    print(f"fuzz: {figures}; findings: {sorts}{kept}")  # noqa: T201
    return 1 if found.findings else 0


if __name__ == "__main__":
    sys.exit(main())
