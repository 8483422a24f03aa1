"""Processes of a run: one precision in each, and whether they listen to each other."""

import resource
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from beit.engine import processes
from beit.engine.failure_detection import allow_files
from beit.engine.processes import found_by_first, make_accelerator, one_run
from beit.errors import BeitError, ConfigError, DataError
from beit.settings.groups import RunSettings


def test_auto_is_chosen_for_every_run(monkeypatch, tmp_path):
    run = RunSettings(output=str(tmp_path), device="cpu")
    for faster, theirs in (("bf16", "bf16"), ("fp32", "no"), ("bf16", "bf16")):
        monkeypatch.setattr(processes, "pick_training_precision", lambda *_, faster=faster: faster)
        with one_run(run.output):
            assert make_accelerator(run, 192).mixed_precision == theirs


def test_a_later_run_may_have_another_precision(tmp_path):
    first = Accelerator(cpu=True).mixed_precision
    for precision, theirs in (("bf16", "bf16"), ("fp32", "no"), ("bf16", "bf16")):
        run = RunSettings(output=str(tmp_path), device="cpu", precision=precision)
        assert make_accelerator(run, 192).mixed_precision == theirs
    make_accelerator(RunSettings(output=str(tmp_path), device="cpu", precision={"no": "fp32"}.get(first, first)), 192)


def test_processes_that_have_met_keep_their_device(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(processes, "Accelerator", lambda **_: SimpleNamespace(device=torch.device("cpu")))
    with pytest.raises(ConfigError, match=r"run\.device is auto, which is cuda here, and an earlier run of these proc"):
        make_accelerator(RunSettings(output=str(tmp_path), precision="fp32"), None)


class TestRunsOfThreads:
    def test_a_second_thread_does_not_train_beside_the_first(self, tmp_path):
        with one_run(str(tmp_path / "a")), ThreadPoolExecutor(1) as threads:
            beside = threads.submit(one_run(str(tmp_path / "b")).__enter__)
            with pytest.raises(ConfigError, match="another thread of this program trains already"):
                beside.result()

    def test_after_it_any_thread_trains(self, tmp_path):
        def train():
            with one_run(str(tmp_path / "b")), one_run(str(tmp_path / "c")):
                return "trained"

        with one_run(str(tmp_path / "a")):
            pass
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(train).result() == "trained"


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
