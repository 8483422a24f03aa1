"""The endurance campaign: its jobs are those that there are, a difference is found, and what is the same is none."""

import random
import signal

import pytest

from beit.cli.main import CONTINUED
from tests.campaigns import endurance
from tests.campaigns.endurance import References, _at_once, _below, _damage, _different, _signalled, endure
from tests.campaigns.jobs import Job, jobs

pytestmark = pytest.mark.e2e


def test_every_command_that_continues_is_among_them(tmp_path):
    commands = {job.command[0] for job in jobs(tmp_path).values()}
    assert set(CONTINUED) - {"demo"} <= commands  # a demo is a row of trainings


@pytest.mark.parametrize("name", ["convert", "convert to a pickle", "predict", "predict a table", "predict pictures"])
def test_a_job_that_trains_nothing_makes_what_is_compared(tmp_path, name):
    kinds = jobs(tmp_path / "needed")
    output, _ = References(kinds, tmp_path).of(name)
    for compared in kinds[name].compared:
        assert _below(output, compared).is_file(), compared


class Fake:
    """A process that does nothing and ends as it was asked to."""

    pid, returncode, statuses, stderr, errors, ended = 1, 0, [0], "", [""], None

    def poll(self):
        return self.ended

    def send_signal(self, number):
        self.returncode = -number if number == signal.SIGKILL else 0

    def communicate(self, timeout=None):
        return "", self.stderr


@pytest.mark.parametrize("same", [True, False])
def test_a_difference_is_found(tmp_path, monkeypatch, same):
    numbers = iter(range(1000))

    def beit(*command, **_):
        (endurance.Path(command[0])).mkdir(parents=True, exist_ok=True)
        (endurance.Path(command[0]) / "made").write_text("x" if same else str(next(numbers)))
        return Fake()

    monkeypatch.setattr(endurance, "beit", beit)
    monkeypatch.setattr(endurance, "start", lambda *_, **__: Fake())
    monkeypatch.setattr(endurance, "losses", lambda _: {})
    found = endure({"a job": Job(["{output}"], ("made",))}, 1, 0.3, tmp_path)
    assert found.disturbances >= found.jobs > 0
    assert (found.findings == []) == same
    assert found.late == 0


def test_disturbances_that_come_after_the_end_are_counted_apart(tmp_path, monkeypatch):
    ended = Fake()
    ended.ended = 0
    monkeypatch.setattr(endurance, "beit", lambda *_, **__: Fake())
    monkeypatch.setattr(endurance, "start", lambda *_, **__: ended)
    found = endure({"a job": Job([], ())}, 1, 0.1, tmp_path)
    assert found.disturbances == 0
    assert found.late >= found.jobs > 0


def test_a_traceback_is_found(monkeypatch):
    broken = Fake()
    broken.stderr = "Traceback (most recent call last)"
    monkeypatch.setattr(endurance, "start", lambda *_, **__: broken)
    assert _signalled([], 0.01, signal.SIGTERM)[0].startswith("SIGTERM after")


@pytest.mark.parametrize(
    ("second", "said"), [("is being written by process 7", ""), ("it is broken", "twice, 0.00 s apart, ends")]
)
def test_of_two_at_once_one_is_done_and_the_other_says_why_not(monkeypatch, second, said):
    processes = [Fake(), Fake()]
    processes[1].returncode, processes[1].stderr = 1, second
    monkeypatch.setattr(endurance, "start", lambda *_, **__: processes.pop(0))
    assert _at_once([], 0.0)[0][: len(said) or None] == said


def test_what_a_job_needs_is_done_before_it(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(endurance, "beit", lambda *command, **_: done.append(command) or Fake())
    kinds = {"needs one": Job(["{model}", "{output}"], (), needs="a job"), "a job": Job(["{output}"], ())}
    References(kinds, tmp_path).of("needs one")
    assert done == [(f"{tmp_path}/a_job",), (f"{tmp_path}/a_job/model", f"{tmp_path}/needs_one")]


def test_a_job_that_fails_undisturbed_is_found(tmp_path, monkeypatch):
    broken = Fake()
    broken.returncode, broken.stderr = 1, "no such file"
    monkeypatch.setattr(endurance, "beit", lambda *_, **__: broken)
    assert (
        "a job fails undisturbed, with status 1: no such file"
        in endure({"a job": Job([], ())}, 1, 0.01, tmp_path).findings[0]
    )


def test_the_newest_checkpoint_is_damaged_where_there_is_an_older_one(tmp_path):
    for step in (1, 2):
        (tmp_path / "checkpoints" / f"step_{step}").mkdir(parents=True)
        (tmp_path / "checkpoints" / f"step_{step}" / "a").write_bytes(bytes(100))
    assert _damage(random.Random(1), tmp_path)  # noqa: S311
    assert not _damage(random.Random(1), tmp_path / "checkpoints")  # noqa: S311
    assert (tmp_path / "checkpoints/step_1/a").read_bytes() == bytes(100)
    assert (tmp_path / "checkpoints/step_2/a").read_bytes() != bytes(100)


def test_what_is_left_half_written_is_a_difference(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "made").write_text("x")
    (tmp_path / "two" / ".made.12.tmp").touch()
    assert _different(Job([], ("made",)), tmp_path / "one", tmp_path / "two") == [".made.12.tmp"]


def test_a_half_written_file_beside_the_output_is_a_difference(tmp_path):
    for name in ("one.csv", "two.csv", ".two.csv.12.tmp"):
        (tmp_path / name).write_text("x")
    assert _different(Job([], (".csv",)), tmp_path / "one", tmp_path / "two") == [".two.csv.12.tmp"]


def test_a_file_that_is_not_made_is_a_difference(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    assert _different(Job([], ("made",)), tmp_path / "one", tmp_path / "two") == ["made"]
    (tmp_path / "one" / "made").touch()
    assert _different(Job([], ("made",)), tmp_path / "one", tmp_path / "two") == ["made"]
