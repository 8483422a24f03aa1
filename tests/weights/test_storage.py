import pytest
import torch
from safetensors.torch import save_file

from beit.errors import CheckpointError
from beit.weights import read_safetensors


def test_damaged_and_missing_files(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match="does not exist"):
        read_safetensors(path)
    save_file({"a": torch.ones(100)}, path)
    assert read_safetensors(path)["a"].sum() == 100
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="damaged"):
        read_safetensors(path)
