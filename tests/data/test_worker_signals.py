"""Stop signals and the loading workers: the run decides."""

import multiprocessing
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from beit.data import Augmentation, BatchOrder, Collate, ViewDataset, Views, open_source, training_batches
from beit.image import Preprocessing

STEPS, BATCH_SIZE = 12, 4


@pytest.fixture
def with_a_thread(monkeypatch):
    """Let workers start a thread before what initialises them, as libraries of torch do in some runs."""
    monkeypatch.setattr(
        torch, "set_num_threads", lambda count: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    )


@pytest.fixture
def loading(with_a_thread, tmp_path):
    """The batches of two workers, each of which has given one."""
    for number in range(8):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"{number}.png")
    source = open_source(str(tmp_path))
    dataset = ViewDataset(source, Views(Preprocessing((16, 16), (18, 18)), Augmentation()), 5, replace_broken=True)
    batches = iter(training_batches(dataset, BatchOrder(len(source), BATCH_SIZE, STEPS, 5), Collate(5), workers=2))
    next(batches), next(batches)
    return batches


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_goes_on_when_others_ask_it_to_stop(loading, asked):
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        subprocess.run([sys.executable, "-c", f"import os; os.kill({worker.pid}, {int(asked)})"], check=True)
    assert len(list(loading)) == STEPS - 2


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed in /proc")
def test_no_thread_of_a_worker_takes_the_signal(loading):
    """A signal to a process goes to any thread that does not block it, and would end the worker there."""
    for worker in multiprocessing.active_children():
        tasks = [(task / "status").read_text() for task in Path(f"/proc/{worker.pid}/task").iterdir()]
        masks = [int(re.search(r"SigBlk:\s*(\w+)", status)[1], 16) for status in tasks]
        waits = [mask for mask in masks if not mask >> (signal.SIGTERM - 1) & 1]
        assert len(tasks) > 2
        assert len(waits) <= 1, "but the one that waits for it"


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not name the sender of a signal")
def test_a_worker_ends_when_its_own_run_asks_it_to(loading):
    for worker in multiprocessing.active_children():
        worker.terminate()
        worker.join(timeout=20)
        assert worker.exitcode == 0
