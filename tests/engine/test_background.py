"""Checkpoints in the background: the values of their step, their errors, and a kill in the middle."""

import os
import signal
import threading

import pytest
import torch
from torch import nn

from beit.engine.background import BackgroundWriter, HostCopies
from beit.engine.checkpoints import latest_checkpoint, save_checkpoint
from beit.engine.sharding import without_values
from beit.errors import StorageError


def test_copies_do_not_follow_what_is_trained():
    weight = torch.arange(6.0).reshape(2, 3).T  # not contiguous
    copied = HostCopies().take("a", weight)
    expected = weight.clone()
    weight.add_(1)
    assert torch.equal(copied, expected)
    assert copied.is_contiguous()


def test_one_at_a_time_and_in_order():
    writer, gate, done = BackgroundWriter(), threading.Event(), []
    writer.start(lambda: done.append(gate.wait(30)))
    writer.check()  # it does not wait
    assert done == []
    threading.Timer(0.05, gate.set).start()
    writer.start(lambda: done.append("second"))
    writer.wait()
    assert done == [True, "second"]
    writer.wait()  # nothing is written


@pytest.mark.parametrize("ask", ["check", "wait", "start"])
def test_an_error_is_raised_once_at_the_next_occasion(ask):
    def fails():
        raise StorageError("cannot write")

    writer = BackgroundWriter()
    writer.start(fails)
    while not writer._writing.done():
        pass
    with pytest.raises(StorageError, match="cannot write"):
        getattr(writer, ask)(*[fails] if ask == "start" else [])
    writer.check()


def test_killed_while_it_writes_the_earlier_checkpoint_stays(tmp_path):
    module, (reads, writes) = nn.Linear(3, 2), os.pipe()
    save_checkpoint(tmp_path, 1, lambda folder: None, module, 1, {})
    child = os.fork()
    if child == 0:

        def write(folder):
            (folder / "model").write_bytes(bytes(1000))
            os.write(writes, b"!")
            threading.Event().wait(60)

        writer = BackgroundWriter()
        writer.start(lambda: save_checkpoint(tmp_path, 2, write, module, 1, {}))
        writer.wait()
        os._exit(0)
    os.read(reads, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert list(tmp_path.glob(".step_00000002.*")), "it was killed in the middle"
    assert latest_checkpoint(tmp_path).name == "step_00000001"


def test_a_module_without_values_is_filled_by_name():
    module = nn.BatchNorm1d(3)
    module.tokenizer = object()  # it belongs to somebody else
    empty = without_values(module)
    assert {tensor.device.type for tensor in empty.state_dict().values()} == {"meta"}
    assert empty.tokenizer is module.tokenizer
    empty.load_state_dict({name: tensor + 1 for name, tensor in module.state_dict().items()}, assign=True)
    assert torch.equal(empty.weight, module.weight + 1)
    assert module.weight.device.type == "cpu"
