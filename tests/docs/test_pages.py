"""Every Python and shell block of README.md and of every page runs, in order, as a reader would run it."""

import os
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.docs import stages
from tests.docs.blocks import ROOT, read_page
from tests.docs.programs import WORKED_OUT
from tests.docs.published import published_stand_ins

HERE = Path(__file__).parent
PATHS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for path in PATHS if (page := read_page(path)).blocks]
LONGEST = 540  # seconds

pytestmark = [pytest.mark.docs, pytest.mark.timeout(LONGEST + 30)]


def test_there_are_pages():
    assert len(PAGES) >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.relative_to(ROOT).as_posix())
def test_page_runs(page, tmp_path):
    place = tmp_path / "page"
    place.mkdir()
    (place / "recipes").symlink_to(ROOT / "recipes")
    if page.stage is not None:
        getattr(stages, page.stage)(place)
    with ExitStack() as stack:
        environment = surroundings(tmp_path)
        if page.needs_hub:
            _, hub = stack.enter_context(published_stand_ins(tmp_path / "hub"))
            environment |= hub
        with (tmp_path / "output.txt").open("w+") as output:
            status = play(page, place, environment, output)
            output.seek(0)
            said = output.read()
    assert status == 0, f"{page.path.name} ended with status {status}\n{said[-6000:]}"


def play(page, place, environment, output):
    """Run a page in a process of its own and end whatever it left running; return its exit status."""
    process = subprocess.Popen(
        [sys.executable, HERE / "play.py", page.path],
        cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        return process.wait(timeout=LONGEST)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def surroundings(tmp_path):
    """Return the environment of a page: our programs first on PATH, nothing of the user's, no network."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    for name in (*WORKED_OUT, "pip"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {HERE / "programs.py"} {name} "$@"\n')
        program.chmod(0o755)
    search = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ, "PATH": path, "PYTHONPATH": search, "HOME": str(home), "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "COLUMNS": "100", "NO_COLOR": "1",
    }  # fmt: skip
