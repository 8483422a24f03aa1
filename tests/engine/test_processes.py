"""Processes of a run: one precision in each, and whether they listen to each other."""

import resource
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from beit.engine import processes
from beit.engine.failure_detection import allow_files
from beit.engine.processes import found_by_first, make_accelerator
from beit.errors import BeitError, DataError
from beit.settings.groups import RunSettings


def test_auto_is_the_precision_of_an_earlier_run(monkeypatch, tmp_path):
    first = Accelerator(cpu=True)
    faster = {"no": "bf16", "bf16": "fp32"}[first.mixed_precision]
    monkeypatch.setattr(processes, "pick_training_precision", lambda *_: faster)
    run = RunSettings(output=str(tmp_path), device="cpu")
    assert make_accelerator(run, 192).mixed_precision == first.mixed_precision


def test_a_later_run_may_have_another_precision(tmp_path):
    first = Accelerator(cpu=True).mixed_precision
    for precision, theirs in (("bf16", "bf16"), ("fp32", "no"), ("bf16", "bf16")):
        run = RunSettings(output=str(tmp_path), device="cpu", precision=precision)
        assert make_accelerator(run, 192).mixed_precision == theirs
    make_accelerator(RunSettings(output=str(tmp_path), device="cpu", precision={"no": "fp32"}.get(first, first)), 192)


@pytest.mark.parametrize("faster", ["fp32", "bf16"])
def test_auto_of_the_first_run_is_timed(monkeypatch, tmp_path, faster):
    monkeypatch.setattr(processes, "is_initialized", lambda: False)
    monkeypatch.setattr(processes, "pick_training_precision", lambda *_: faster)
    run = RunSettings(output=str(tmp_path), device="cpu")
    assert processes._picked_precision(run, torch.device("cpu"), 192) == faster


class TestFoundByFirst:
    @pytest.fixture
    def found(self, monkeypatch):
        """Return a call that gives what each of three ranks gets, and how often it was looked for."""

        def of(find):
            sent, looked, got = [], [], []

            def broadcast(values):
                values[:] = sent or values
                sent[:] = values

            def looking():
                looked.append(1)
                return find()

            monkeypatch.setattr(processes, "broadcast_object_list", broadcast)
            for rank in range(3):
                try:
                    got.append(found_by_first(SimpleNamespace(num_processes=3, is_main_process=rank == 0), looking))
                except BeitError as error:
                    got.append((type(error), str(error)))
            return got, len(looked)

        return of

    def test_one_looks_for_all(self, found):
        assert found(lambda: "hash") == (["hash"] * 3, 1)
        assert found(lambda: None) == ([None] * 3, 1)

    def test_all_learn_why_it_found_nothing(self, found):
        def find():
            raise DataError("gone")

        assert found(find) == ([(DataError, "gone")] * 3, 1)

    def test_a_process_alone_looks_itself(self):
        assert found_by_first(SimpleNamespace(num_processes=1, is_main_process=True), lambda: 3) == 3


class TestFailureDetection:
    @pytest.fixture
    def joins(self, monkeypatch):
        """Return a call: whether processes on some machines listen to each other."""

        def joined(detects, machines):
            run = processes._Run(None)
            monkeypatch.setattr(processes, "_current", [run])
            monkeypatch.setattr(processes, "gather_object", lambda _: machines)
            monkeypatch.setattr(processes, "Peers", lambda *_: "peers")
            processes.join(SimpleNamespace(num_processes=len(machines)), detects)
            return run.peers is not None

        return joined

    def test_over_machines_it_is_asked_for(self, joins):
        assert joins("auto", ["a", "a"])
        assert not joins("auto", ["a", "b"])
        assert joins(True, ["a", "b"])
        assert not joins(False, ["a", "a"])
        assert not joins(True, ["a"])

    def test_the_limit_of_files_is_raised_as_far_as_it_may_be(self, monkeypatch):
        limits = [(1024, 5000)]
        monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
        monkeypatch.setattr(resource, "setrlimit", lambda _, now: limits.append(now))
        assert allow_files(0) is None
        assert limits[-1] == (1024, 5000)
        assert allow_files(4900) == (
            "the first of 4900 processes may open 5000 files, and needs one for every other process beside its own; "
            "raise the hard limit (ulimit -Hn), or set run.failure_detection to false"
        )
        assert allow_files(2000) is None
        assert limits[-1] == (3024, 5000)
        assert allow_files(4800) is None
        assert limits[-1] == (5000, 5000)
