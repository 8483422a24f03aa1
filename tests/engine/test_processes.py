"""One process has one precision: "auto" of a later run is that of the first, whatever is faster for its width."""

import pytest
import torch
from accelerate import Accelerator

from beit.engine import processes
from beit.engine.processes import make_accelerator
from beit.settings.groups import RunSettings


def test_auto_is_the_precision_of_an_earlier_run(monkeypatch, tmp_path):
    first = Accelerator(cpu=True)
    faster = {"no": "bf16", "bf16": "fp32"}[first.mixed_precision]
    monkeypatch.setattr(processes, "pick_training_precision", lambda *_: faster)
    run = RunSettings(output=str(tmp_path), device="cpu")
    assert make_accelerator(run, 192).mixed_precision == first.mixed_precision


@pytest.mark.parametrize("faster", ["fp32", "bf16"])
def test_auto_of_the_first_run_is_timed(monkeypatch, tmp_path, faster):
    monkeypatch.setattr(processes, "is_initialized", lambda: False)
    monkeypatch.setattr(processes, "pick_training_precision", lambda *_: faster)
    run = RunSettings(output=str(tmp_path), device="cpu")
    assert processes._picked_precision(run, torch.device("cpu"), 192) == faster
