"""Locks: one holder at a time, whoever is gone is noticed, and nobody else is pushed aside."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from beit.errors import BeitError, ConfigError, StorageError
from beit.files import lock as locks
from beit.files import locked


@pytest.fixture
def place(tmp_path):
    return tmp_path / "run" / ".lock"


def hold(place):
    return locked(place, place.parent, "or choose another")


def written(place):
    """The holder of a lock that this process takes and gives back."""
    with hold(place):
        return locks._read(place)


def leave(place, holder):
    """Leave a lock behind, as a killed process does."""
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(asdict(holder)))


def test_a_second_holder_is_refused_and_the_first_named(place):
    with hold(place):
        with pytest.raises(ConfigError, match=rf"run is being written by process {os.getpid()} on .*, since .*; wait"):
            hold(place).__enter__()
        assert place.exists()
    assert not place.parent.exists()  # it was made for the lock alone
    with hold(place):
        pass


def test_what_was_written_beside_it_stays(place):
    with hold(place):
        (place.parent / "kept").touch()
    assert os.listdir(place.parent) == ["kept"]


def test_a_killed_holder_is_noticed_at_once(place):
    code = f"from pathlib import Path\nfrom beit.files import locked\nimport time\nwith locked(Path({str(place)!r}), 'a', 'b'):\n    print(flush=True)\n    time.sleep(60)"  # noqa: E501
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(ConfigError, match=f"process {process.pid} "):
            hold(place).__enter__()
        process.send_signal(signal.SIGKILL)
        time.sleep(0.1)  # not waited for as yet: a zombie holds nothing
        with hold(place):
            assert locks._read(place).process == os.getpid()


def test_a_number_that_was_given_again_is_no_holder(place):
    leave(place, replace(written(place), begun="1"))
    with hold(place):
        assert locks._read(place).begun != "1"


def test_a_holder_elsewhere_is_watched(place, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.4)
    monkeypatch.setattr(locks, "BEAT", 0.1)
    elsewhere = replace(written(place), host="elsewhere", process=1)
    leave(place, elsewhere)
    ended = threading.Event()
    beat = threading.Thread(target=locks._beat, args=(place, ended))
    beat.start()
    try:
        with pytest.raises(ConfigError, match="process 1 on elsewhere"):
            hold(place).__enter__()
    finally:
        ended.set()
        beat.join()
    with hold(place):  # it is still now
        assert locks._read(place).host != "elsewhere"


@pytest.mark.parametrize("content", ["", "{", "[" * 4000, "{}", '{"host": 1}', "\0" * 100])
def test_a_damaged_lock_is_replaced(place, content):
    place.parent.mkdir()
    place.write_text(content)
    with hold(place):
        assert locks._read(place).process == os.getpid()


def _contend(place, counter, failures):
    for _ in range(20):
        try:
            with hold(place):
                counter.value += 1
                now = counter.value
                time.sleep(0.001)
                failures.value += counter.value != now
        except BeitError:
            time.sleep(0.001)


def test_several_at_once_never_hold_it_together(place):
    place.parent.mkdir()
    context = multiprocessing.get_context("fork")
    counter, failures = context.Value("i", 0, lock=False), context.Value("i", 0, lock=False)
    leave(place, replace(written(place), begun="1"))
    several = [context.Process(target=_contend, args=(place, counter, failures)) for _ in range(4)]
    for process in several:
        process.start()
    for process in several:
        process.join()
    assert counter.value > 0
    assert failures.value == 0
    assert os.listdir(place.parent) == []


def test_a_file_system_without_links(place, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with hold(place), pytest.raises(ConfigError):
        hold(place).__enter__()
    with hold(place):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_in_its_place_is_named_at_once(place, make, monkeypatch):
    """A named pipe would have blocked it for ever."""
    monkeypatch.setattr(locks, "_SETTLED", 0.05)
    place.parent.mkdir()
    make(place)
    began = time.monotonic()
    assert locks.killed_holder(place) is None
    with pytest.raises(StorageError, match=r"cannot write .*\.lock: .*; .*remove"), hold(place):
        pass
    assert time.monotonic() - began < 10
