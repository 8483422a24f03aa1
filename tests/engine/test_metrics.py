"""The metrics log of a run."""

import errno
import json
import os
import shutil
import threading
from contextlib import suppress

import pytest

from beit.engine.metrics import MetricsLog, read_metrics
from beit.engine.run_folder import RunFolder
from beit.errors import StorageError
from tests.full_disk import full_disk


def test_metrics_after_the_checkpoint_are_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    with MetricsLog(folder, 0) as log:
        for step in range(1, 6):
            log.write(step, "train", {"loss": 1 / step})
    with folder.metrics.open("a") as file:
        file.write('{"step": 6, "lo')  # killed while writing
    with MetricsLog(folder, 3) as log:
        log.write(4, "train", {"loss": 9.0})
    lines = read_metrics(folder.metrics)
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 9.0)]
    assert all(json.loads(text) for text in folder.metrics.read_text().splitlines())


def test_nothing_is_written_where_a_run_folder_was(tmp_path):
    folder = RunFolder(tmp_path / "run")
    hook = threading.excepthook
    with suppress(StorageError), MetricsLog(folder, 0) as log:
        log.write(1, "train", {"loss": 1.0})
        folder.path.rename(tmp_path / "moved")
        with pytest.raises(StorageError, match=r"the run folder .*run has gone while .*; give it back its name, and"):
            log.write(2, "train", {"loss": 1.0})
    assert os.listdir(tmp_path) == ["moved"]
    assert threading.excepthook is hook


def test_the_thread_of_tensorboard_prints_no_traceback(tmp_path, capsys, monkeypatch):
    printed = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: printed.append(str(failed.exc_value)))
    folder = RunFolder(tmp_path / "run")
    log = MetricsLog(folder, 0)
    log.write(1, "train", {"loss": 1.0})
    log._events.flush()
    shutil.rmtree(folder.path)
    log._events.add_scalar("loss", 1.0, 2)
    other = threading.Thread(target=lambda: 1 / 0)
    other.start()
    other.join()
    with pytest.raises(StorageError, match=r"cannot write .*tensorboard: No such file or directory; its folder has"):
        log.close()
    assert printed == ["division by zero"]
    assert capsys.readouterr().err == ""


def test_a_full_disk_leaves_no_partial_line(tmp_path):
    folder = RunFolder(tmp_path)
    with suppress(StorageError), MetricsLog(folder, 0) as log:
        log.write(1, "train", {"loss": 1.0})
        with (
            full_disk(folder.metrics.stat().st_size + 5),
            pytest.raises(StorageError, match=r"metrics\.jsonl: File too large; free space and continue the run"),
        ):
            log.write(2, "train", {"loss": 1.0})
    assert [line["step"] for line in read_metrics(folder.metrics)] == [1]
    assert folder.metrics.read_text().endswith("}\n")


def test_a_full_disk_under_tensorboard_is_explained(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    message = r"cannot write .*tensorboard: No space left on device; free space and continue the run"
    log = MetricsLog(RunFolder(tmp_path), 0)
    monkeypatch.setattr(log._events, "add_scalar", full)
    with pytest.raises(StorageError, match=message):
        log.write(1, "train", {"loss": 1.0})
    monkeypatch.setattr(log._events, "close", full)
    with pytest.raises(StorageError, match=message):
        log.close()
    with pytest.raises(ValueError, match="the first error"), log:
        raise ValueError("the first error")


def test_a_disk_that_is_full_from_the_start_is_explained(tmp_path, monkeypatch):
    printed = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    hook = threading.excepthook
    with full_disk(0), pytest.raises(StorageError, match=r"cannot write .*tensorboard: File too large; free space and"):
        MetricsLog(RunFolder(tmp_path / "run"), 0).close()
    assert printed == []
    assert threading.excepthook is hook
