"""`make endurance`: every kind of job, killed and disturbed at random moments, ends with the bits of one that was not.

A disturbance is SIGKILL, SIGTERM or SIGINT at a moment that is drawn (during imports, steps, writing or measuring),
damage to the newest checkpoint after it (cut off, a bit flipped), or the same command again while the first one runs.
After some of them the job is run to its end, and the files that it makes are compared with those of an undisturbed one.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.jobs import Job, jobs
from tests.e2e.small import beit, losses, start

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOST = 4  # disturbances of one job, before it is run to its end
AT_ONCE, DAMAGED = 0.15, 0.3  # shares of the disturbances
LONGEST = 240  # seconds; a job that takes longer hangs
HELD = "is being written by process"  # what a second process answers


@dataclass
class Campaign:
    """Outcome of a campaign: disturbances, those that found a job at its end already, and what went wrong."""

    disturbances: int
    jobs: int
    findings: list[str]
    late: int = 0


class FailedUndisturbedError(Exception):
    """Raised where a job fails that nothing disturbed."""


class References:
    """Undisturbed outputs, made when they are first asked for."""

    def __init__(self, kinds: dict[str, Job], place: Path):
        self._kinds, self._place = kinds, place
        self._made: dict[str, tuple[Path, float]] = {}

    def of(self, name: str) -> tuple[Path, float]:
        """Return the output of a job and the seconds that it takes."""
        if name not in self._made:
            output = self._place / name.replace(" ", "_")
            output.parent.mkdir(parents=True, exist_ok=True)
            command, began = self.command(name, output), time.monotonic()
            done = beit(*command, ranks=self._kinds[name].ranks)
            if done.returncode:
                raise FailedUndisturbedError(f"{name} fails undisturbed, with status {done.returncode}: {done.stderr}")
            self._made[name] = output, time.monotonic() - began
        return self._made[name]

    def command(self, name: str, output: Path) -> list[str]:
        """Return the command line of a job with an output; the job that it needs is done first."""
        job = self._kinds[name]
        model = self.of(job.needs)[0] / "model" if job.needs else ""
        return [part.replace("{output}", str(output)).replace("{model}", str(model)) for part in job.command]


def endure(kinds: dict[str, Job], seed: int, seconds: float, place: Path, only: Collection[str] = ()) -> Campaign:
    """Disturb jobs until the time is over."""
    draw, campaign, deadline = random.Random(seed), Campaign(0, 0, []), time.monotonic() + seconds  # noqa: S311
    shutil.rmtree(place / "whole", ignore_errors=True)  # of the same seed before, with pictures elsewhere
    references, names = References(kinds, place / "whole"), [name for name in kinds if not only or name in only]
    while time.monotonic() < deadline:
        name = names[campaign.jobs % len(names)]
        try:
            said = _endured(draw, references, name, kinds[name], place / f"job_{campaign.jobs}", campaign)
        except FailedUndisturbedError as error:
            said = [str(error)]
        campaign.findings += [f"job {campaign.jobs}: {one}" for one in said]
        campaign.jobs += 1
    return campaign


def _endured(
    draw: random.Random, references: References, name: str, job: Job, output: Path, campaign: Campaign
) -> list[str]:
    """Disturb one job, run it to its end and compare; return what went wrong."""
    reference, length = references.of(name)
    command, findings = references.command(name, output), list[str]()
    for _ in range(draw.randint(1, MOST)):
        said, met = _disturb(draw, command, job.ranks, output, length)
        campaign.disturbances += met
        campaign.late += not met
        if said:
            findings.append(f"{name}: {said}")
    done = beit(*command, ranks=job.ranks)
    if done.returncode:
        findings.append(f"{name} ends with status {done.returncode}: {done.stderr}")
    elif different := _different(job, reference, output):
        findings.append(f"{name} differs in {different}")
    if not findings:
        _remove(output)
    return findings


def _disturb(draw: random.Random, command: list[str], ranks: int, output: Path, length: float) -> tuple[str, bool]:
    """Start a job and disturb it; return what should not have happened, and whether there was still a job."""
    moment, number = draw.uniform(0, 1.1 * length), draw.choice(SIGNALS)
    twice, damaged = draw.random() < AT_ONCE, draw.random() < DAMAGED
    if ranks > 1:
        done = beit(*command, ranks=ranks, kill_after=moment)
        met = -signal.SIGKILL in done.statuses
        said = _traceback(f"SIGKILL after {moment:.2f} s", "".join(done.errors), set(done.statuses))
    elif twice:
        said, met = _at_once(command, moment)
    else:
        said, met = _signalled(command, moment, number)
    if damaged:
        met = _damage(draw, output) or met
    return said, met


def _signalled(command: list[str], moment: float, number: signal.Signals) -> tuple[str, bool]:
    process = start(*command, start_new_session=True)
    time.sleep(moment)
    met = process.poll() is None
    process.send_signal(number)
    what = f"{number.name} after {moment:.2f} s"
    try:
        _, errors = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return f"{what} and it does not end", met
    return _traceback(what, errors, {process.returncode}), met


def _at_once(command: list[str], moment: float) -> tuple[str, bool]:
    """Run a command twice: one of them is done, and the other too or refused in a line that says who is at it."""
    first = start(*command, start_new_session=True)
    time.sleep(moment)
    met = first.poll() is None
    second = start(*command, start_new_session=True)
    what = f"twice, {moment:.2f} s apart,"
    try:
        errors = [process.communicate(timeout=LONGEST)[1] for process in (first, second)]
    except subprocess.TimeoutExpired:
        return f"{what} and it does not end", met
    statuses = [first.returncode, second.returncode]
    refused = [error for error, status in zip(errors, statuses, strict=True) if status]
    if 0 not in statuses or any(HELD not in error for error in refused):
        return f"{what} ends with {statuses}: {errors}", met
    return _traceback(what, "".join(errors), set(statuses)), met


def _traceback(what: str, errors: str, statuses: set[int]) -> str:
    """Return a finding for a traceback, which only the neighbours of a killed process may show."""
    shown = "Traceback" in errors and -signal.SIGKILL not in statuses
    return f"{what} ends in {errors[-2000:]}" if shown else ""


def _damage(draw: random.Random, output: Path) -> bool:
    """Damage a file of the newest checkpoint, if there is an older one to go back to; return whether one was."""
    found = sorted((output / "checkpoints").glob("step_*"))
    files = sorted(path for path in found[-1].rglob("*") if path.is_file()) if len(found) > 1 else []
    if files:
        victim = draw.choice(files)
        content = bytearray(victim.read_bytes())
        if content and draw.random() < 0.5:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        else:
            del content[draw.randrange(len(content) + 1) :]
        victim.write_bytes(content)
    return bool(files)


def _different(job: Job, reference: Path, output: Path) -> list[str]:
    pairs = {name: [_below(place, name) for place in (reference, output)] for name in job.compared}
    different = [name for name, (one, other) in pairs.items() if not _same(one, other)]
    if losses(reference) != losses(output):
        different.append("metrics.jsonl")
    leftovers = list(output.rglob(".*.tmp")) if output.is_dir() else []
    leftovers += output.parent.glob(f".{output.name}*.tmp")  # of what is one file
    return different + [path.name for path in leftovers]


def _same(one: Path, other: Path) -> bool:
    """Return whether both files are there, with the same bytes."""
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _below(place: Path, name: str) -> Path:
    return place.with_name(place.name + name) if name.startswith(".") else place / name


def _remove(output: Path) -> None:
    for path in output.parent.glob(f"*{output.name}*"):
        if path.name.strip(".").split(".")[0] == output.name:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> int:
    """Run a campaign, and print one line of figures at its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs="*", default=[], help="names of jobs")
    parser.add_argument("--findings", type=Path, default=Path("runs/endurance"))
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    kept = (given.findings / str(given.seed)).resolve()
    with tempfile.TemporaryDirectory() as needed:
        kinds = jobs(Path(needed))
        print(f"endurance: seed {given.seed}, {len(kinds)} kinds of jobs, {given.seconds:g} s", flush=True)  # noqa: T201
        kept.mkdir(parents=True, exist_ok=True)
        found = endure(kinds, given.seed, given.seconds, kept, given.only)
    if found.findings:
        (kept / "findings.txt").write_text("\n\n".join(found.findings))
    else:
        shutil.rmtree(kept)
    where = f"; they are in {kept}" if found.findings else ""
    late = f" ({found.late} more came after the end)"
    figures = f"{found.disturbances} disturbances of {found.jobs} jobs{late}, seed {given.seed}"
    print(f"endurance: {figures}; differences and failures: {len(found.findings)}{where}")  # noqa: T201
    return 1 if found.findings else 0


if __name__ == "__main__":
    sys.exit(main())
