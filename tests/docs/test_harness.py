"""What runs the documents notices mistakes in them."""

import os
import subprocess
import sys

import pytest

from tests.docs.blocks import ROOT, Block, read_page
from tests.docs.play import play
from tests.docs.programs import LIMITS, PARSE_ONLY, is_training

pytestmark = pytest.mark.docs

PAGE = """<!-- stage: digits -->
# A page

```python
x = 1
print(x)
```

```text
1
```

<!-- needs the hub -->
<!-- limits: --train.max_steps 4 --augment.crop_scale '[0.5, 1.0]' -->
```bash
beit pretrain
```

- in a list

    ```bash title="x"
    if true; then
      echo
    fi
    ```

<!-- needs many GPUs -->
```bash
torchrun -m beit pretrain
```

```text
not run
```
"""


def test_a_page_is_read(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    page = read_page(path)
    assert page.stage == "digits"
    assert page.needs_hub
    limits = ("--train.max_steps", "4", "--augment.crop_scale", "[0.5, 1.0]")
    assert page.blocks == (
        Block(5, "python", "x = 1\nprint(x)\n", printed="1\n"),
        Block(16, "bash", "beit pretrain\n", ("the hub",), limits),
        Block(22, "bash", "if true; then\n  echo\nfi\n"),
        Block(29, "bash", "torchrun -m beit pretrain\n", ("many GPUs",)),
    )
    assert [block.only_parsed for block in page.blocks] == [False, False, False, True]


@pytest.mark.parametrize(("shown", "status"), [("1 2", 0), ("1 3", 1)])
def test_what_python_prints_is_what_the_page_shows(tmp_path, shown, status):
    path = tmp_path / "page.md"
    path.write_text(f"```python\nprint(1, 2)\n```\n\n```text\n{shown}\n```\n")
    assert play(read_page(path)) == status
    path.write_text(f"{path.read_text()}\n<!-- limits: --train.max_steps 4 -->\n```bash\ntrue\n```\n")
    assert play(read_page(path)) == 0


def test_trainings_are_known():
    assert is_training(["pretrain", "--data.path", "x"])
    assert is_training(["tokenizer", "distill"])
    assert is_training(["distill", "--teacher.path", "x"])
    assert not is_training(["tokenizer", "encode"])
    assert not is_training(["predict", "pretrain"])
    assert not is_training(["pretrain", "--help"])


def program(*words, **variables):
    """Run one of our programs and return its exit status and what it said."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **variables}
    command = [sys.executable, ROOT / "tests/docs/programs.py", *words]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("beit pretrain recipes/pretrain_tiny.yaml --data.path nowhere --dry-run --processes 8", 0, ""),
        ("beit pretrain recipes/none.yaml", 1, "none.yaml"),
        ("beit finetune --optim.lrr 3", 1, "did you mean optim.lr?"),
        ("beit predict model picture --task clasify", 1, "clasify"),
        ("beit serve a=b --port 1", 0, ""),
        (
            "beit finetune --data.path x --train.epochs 20 --optim.warmup_epochs 20",
            1,
            "the warm-up of 20 epochs is not shorter than the run",
        ),
        ("torchrun --nproc-per-node 8 -m beit finetune --data.path x --optim.lr 1", 0, ""),
        ("torchrun --nproc-per-node 8 -m beit segment --optim.lr x", 1, "optim.lr"),
        ("torchrun --nproc-per-nod 8 -m bait segment", 1, "bait"),
        ("accelerate launch --multi_gpu --num_processes 8 -m beit finetune --data.path x", 0, ""),
        ("pip install -e .[train,flax] jax", 0, ""),
        ("pip install beit[train]", 1, "beit is not published"),
        ("pip install -e .[trian]", 1, "there is no extra {'trian'}"),
        ("pip install -c none.txt -e .[train]", 1, "none.txt"),
    ],
)
def test_commands_are_parsed_where_they_cannot_run(words, status, said):
    found, output = program(*words.split(), **{PARSE_ONLY: "1"})
    assert found == status, output
    assert said in output


def test_limits_shorten_a_training():
    limits = "\n".join(["--train.max_steps", "7", "--print_config"])
    words = ("beit", "finetune", "--data.path", "x", "--train.max_steps", "900")
    status, said = program(*words, **{LIMITS: limits})
    assert status == 0
    assert "max_steps: 7\n" in said


def test_limits_hide_no_mistake():
    limits = "\n".join(["--train.max_steps", "4", "--optim.warmup_steps", "2"])
    words = ("beit", "finetune", "--data.path", "x", "--train.epochs", "20", "--optim.warmup_epochs", "20")
    status, said = program(*words, **{LIMITS: limits})
    assert status == 1
    assert "the warm-up of 20 epochs is not shorter than the run of 20" in said


def test_limits_leave_other_commands_alone():
    assert program("beit", "--version", **{LIMITS: "--train.max_steps"})[0] == 0
