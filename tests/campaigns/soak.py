"""`make soak`: a service under 64 clients that send pictures of mixed sizes and what is none, or leave meanwhile.

Every answer is a result for a picture, a refusal (4xx) of what is none, or the announced 429 or 503, and memory is
returned then.
One line of figures ends it: requests by status, p50 and p99 of the latency, and memory before and after.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TextIO

import httpx
import numpy as np

from tests.service.uploads import picture

MODEL = "beit/nano-cifar10-classifier"
CLIENTS = 64
SIZES = ((32, 32), (48, 40), (224, 224), (640, 480), (1500, 1200), (1900, 120))
LEAVES = 0.05  # share of the clients' requests that are given up after a moment
SETTLE = 5.0  # seconds in which memory is returned
MOST_KEPT = 1.5  # memory after, as a multiple of that after the first requests
BUSY = {429, 503}  # which the service announces


@dataclass
class Load:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    wrong: Counter[str] = field(default_factory=Counter[str])
    seconds: list[float] = field(default_factory=list[float])
    left: int = 0
    broken: Counter[str] = field(default_factory=Counter[str])

    @property
    def failures(self) -> int:
        """Return how many requests ended in a failure of the service."""
        return self.broken.total() + self.wrong.total()

    def judge(self, status: int, is_picture: bool) -> None:
        """Count an answer: a result for a picture, a refusal of what is none, or that the service is busy."""
        self.statuses[status] += 1
        if status not in BUSY and (status != 200 if is_picture else not 400 <= status < 500):
            self.wrong[f"{status} for {'a picture' if is_picture else 'what is none'}"] += 1


def uploads(draw: random.Random) -> list[tuple[bytes, bool]]:
    """Return pictures of all sizes, and what is none; with each whether it is one."""
    sound = [picture(number, size) for number, size in enumerate(SIZES)]
    others = [b"", b"no picture", sound[2][:2000], draw.randbytes(5000)]
    return [*((one, True) for one in (*sound, *sound)), *((one, False) for one in others)]


async def load(address: str, seconds: float, seed: int) -> Load:
    """Send requests of all clients until the time is over."""
    seen, deadline = Load(), time.monotonic() + seconds
    bodies = uploads(random.Random(seed))  # noqa: S311

    async def client(number: int, http: httpx.AsyncClient) -> None:
        draw = random.Random(f"{seed}-{number}")  # noqa: S311
        while time.monotonic() < deadline:
            task, began = draw.choice(("classify", "embed", "attend")), time.monotonic()
            body, is_picture = draw.choice(bodies)
            files = {"file": ("a.jpg", body)}
            patience = draw.uniform(0.0, 0.3) if draw.random() < LEAVES else None
            try:
                async with asyncio.timeout(patience):
                    answer = await http.post(f"/v1/{task}", files=files)
                seen.judge(answer.status_code, is_picture)
                seen.seconds.append(time.monotonic() - began)
                if answer.status_code == 503:
                    await asyncio.sleep(draw.uniform(0.1, 0.5))
            except TimeoutError:
                seen.left += 1
            except httpx.HTTPError as error:
                seen.broken[type(error).__name__] += 1

    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as http:
        await asyncio.gather(*(client(number, http) for number in range(CLIENTS)))
    return seen


def resident(process: int) -> int:
    """Return the memory of a process in MiB."""
    with open(f"/proc/{process}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def main() -> int:
    """Run a service under load, and print one line of figures at its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    command = [sys.executable, "-m", "beit", "serve", f"small={MODEL}", "--port", "0", "--device", "cpu"]
    with tempfile.TemporaryFile("w+") as log:
        return soak(command, log, given.seconds, given.seed)


def soak(command: list[str], log: TextIO, seconds: float, seed: int) -> int:
    """Start a service, load it, and judge what was seen."""
    service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        address = service.stdout.readline().split()[-1]
        while httpx.get(f"{address}/readyz").status_code != 200:
            time.sleep(0.1)
        asyncio.run(load(address, 0.02 * seconds, seed + 1))  # what every request needs is loaded
        time.sleep(SETTLE)
        before = resident(service.pid)
        print(f"soak: seed {seed}, {CLIENTS} clients, {seconds:g} s", flush=True)  # noqa: T201
        seen = asyncio.run(load(address, seconds, seed))
        time.sleep(SETTLE)
        after = resident(service.pid)
    finally:
        service.terminate()
        service.communicate(timeout=60)
    log.seek(0)
    errors = log.read()
    p50, p99 = np.percentile(seen.seconds, (50, 99))
    kept, tracebacks = after / before, errors.count("Traceback")
    statuses = ", ".join(f"{number} of {status}" for status, number in sorted(seen.statuses.items()))
    statuses += "".join(f", {number} of {name}" for name, number in (seen.broken + seen.wrong).items())
    print(  # noqa: T201
        f"soak: {len(seen.seconds)} answers ({statuses}), {seen.left} left, p50 {p50:.2f} s, p99 {p99:.2f} s, memory "
        f"{before} to {after} MiB, seed {seed}; failures: {seen.failures}, tracebacks: {tracebacks}"
    )
    return 1 if seen.failures or tracebacks or kept > MOST_KEPT or service.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
