"""The number of files that one call runs through stays small, and is the one that the guide states."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST = {"step": 20, "batch": 12, "pretrain": 117, "from_pretrained": 25, "predictor": 35}
pytestmark = pytest.mark.e2e


def test_a_call_runs_through_few_files(tmp_path):
    command = [sys.executable, "-m", "tests.reach", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts.keys() == MOST.keys()
    assert {name: files for name, (files, _) in counts.items() if files > MOST[name]} == {}
    assert all(files > 5 for files, _ in counts.values()), "something was counted"


def test_the_guide_states_these_numbers():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    _, _, table = page.partition("## How far it reaches")
    for name in MOST:
        assert re.search(rf"\b{MOST[name]}\b", table), name
