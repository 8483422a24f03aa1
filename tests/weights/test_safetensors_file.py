import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from beit.errors import CheckpointError
from beit.weights.safetensors_file import DTYPES, open_safetensors
from tests.conftest import GOLDEN

FILES = sorted(GOLDEN.glob("hf_v4/*/model.safetensors"))


def as_torch(tensor):
    """Read a stored tensor as torch has it."""
    found = torch.from_numpy(tensor.read())
    return found.view(torch.bfloat16) if tensor.dtype == "bfloat16" else found


def test_there_are_golden_files():
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_golden_files(path):
    ours, theirs = open_safetensors(path), load_file(path)
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].shape == tensor.shape
        assert torch.equal(as_torch(ours[name]), tensor)


@pytest.mark.parametrize("dtype", sorted(set(DTYPES.values())))
def test_every_data_type(tmp_path, dtype):
    tensors = {
        "plain": torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)),
        "scalar": torch.tensor(1).to(getattr(torch, dtype)),
        "empty": torch.zeros(0, 4).to(getattr(torch, dtype)),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    ours = open_safetensors(tmp_path / "x.safetensors")
    assert set(ours) == set(tensors)  # the metadata is no tensor
    for name, tensor in tensors.items():
        assert ours[name].dtype == dtype
        assert torch.equal(as_torch(ours[name]), tensor)


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**37], "data_offsets": [0, 2**39]}}).encode()
    with (tmp_path / "large").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**39)  # a sparse file of half a tebibyte
    assert open_safetensors(tmp_path / "large")["a"].nbytes == 2**39


def test_a_header_padded_with_spaces_and_a_file_without_tensors(tmp_path):
    (tmp_path / "x").write_bytes(struct.pack("<Q", 8) + b"{}      ")
    assert open_safetensors(tmp_path / "x") == {}


def test_damaged_golden_files():
    with pytest.raises(CheckpointError, match="tensors end at byte 100628, the file at byte 50314"):
        open_safetensors(GOLDEN / "bad" / "truncated" / "model.safetensors")
    with pytest.raises(CheckpointError, match="a header of 1099511627776 bytes in a file of 10"):
        open_safetensors(GOLDEN / "bad" / "huge_header" / "model.safetensors")
    shapes = [tensor.read().shape for tensor in open_safetensors(GOLDEN / "bad/wrong_shape/model.safetensors").values()]
    assert all(np.prod(shape) for shape in shapes)  # the file is sound, though it fits no model


def test_a_name_that_cannot_be_printed(tmp_path):
    header = rb'{"\ud800": {"dtype": "U8", "shape": [], "data_offsets": [0, 1]}}'
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + b"a")
    with pytest.raises(CheckpointError, match="surrogates not allowed"):
        open_safetensors(tmp_path / "x")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"dtype": "F7", "shape": [1], "data_offsets": [0, 4]}, "'weight' has the data type 'F7'; expected one of "),
        ({"dtype": "F32", "shape": [1], "data_offsets": 4}, "'weight' has the data_offsets 4, not a list"),
    ],
)
def test_a_wrong_entry_is_told_by_its_name_and_value(tmp_path, entry, said):
    header = json.dumps({"weight": entry}).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(CheckpointError) as refusal:
        open_safetensors(tmp_path / "x")
    assert said in str(refusal.value)
