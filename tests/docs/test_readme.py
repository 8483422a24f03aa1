"""Every Python block of README.md runs."""

import re
from pathlib import Path

import pytest

from tests.docs.published import RELEASE, published_stand_ins

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
NEEDS_HUB = "<!-- needs the hub -->\n"
BLOCKS = [
    pytest.param(bool(hub), block, id=f"README.md-{number}")
    for number, (hub, block) in enumerate(
        re.findall(rf"({NEEDS_HUB})?```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL), start=1
    )
]


def test_there_are_blocks():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize(("hub", "block"), BLOCKS)
def test_block_runs(hub, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if hub:
        return run_with_hub(block, tmp_path)
    names = {}
    exec(compile(block, "block", "exec"), names)  # noqa: S102  # our own documents
    assert names
    return None


def run_with_hub(block, folder):
    """Run a block that loads published checkpoints, with small ones in their places."""
    with published_stand_ins(folder / "hub") as (hub, variables):
        prelude = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.docs.published import use_release; use_release({variables[RELEASE]!r})\n"
        )
        process = hub.python(prelude + block, folder / "home", **variables)
        _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors[-3000:]
