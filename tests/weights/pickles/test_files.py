import argparse
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from beit.errors import CheckpointError
from beit.weights.pickles import open_pickled
from beit.weights.storage.lazy_tensor import LazyTensor
from tests.conftest import GOLDEN

FILES = sorted([*GOLDEN.glob("hf_v4/*/pytorch_model.bin"), *GOLDEN.glob("unilm/*/checkpoint.pth")])
FORMATS = {"zip": True, "legacy": False}
DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool uint16 uint32 uint64"


@pytest.fixture(params=FORMATS)
def saved(request, tmp_path):
    """Write with torch.save in one of its formats and open the file."""

    def save(content):
        path = tmp_path / "file.pt"
        torch.save(content, path, _use_new_zipfile_serialization=FORMATS[request.param])
        return open_pickled(path)

    return save


def as_torch(tensor):
    """Read a stored tensor as torch has it."""
    found = torch.from_numpy(tensor.read())
    return found.view(torch.bfloat16) if tensor.dtype == "bfloat16" else found


def assert_same(found, expected):
    """Compare what was opened with the object itself, tensor by tensor."""
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, LazyTensor)
        assert f"torch.{found.dtype}" == str(expected.dtype)
        assert found.shape == expected.shape
        assert torch.equal(as_torch(found), expected.detach())
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert isinstance(found, type(expected) if type(expected) is list else tuple)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_same(ours, theirs)
    elif isinstance(expected, argparse.Namespace):
        assert type(found) is argparse.Namespace
        assert_same(vars(found), vars(expected))
    else:
        assert type(found) is type(expected)
        assert found == expected


def test_there_are_golden_files():
    assert {path.parent.parent.name for path in FILES} == {"hf_v4", "unilm"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_golden_files(path):
    assert_same(open_pickled(path), torch.load(path, weights_only=False))


def test_a_checkpoint_with_everything(saved):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    state = model.state_dict()
    assert isinstance(state, OrderedDict)
    assert hasattr(state, "_metadata")
    checkpoint = {
        "model": state,
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=1e-3, name="b\xe4", inner=argparse.Namespace(a=[1, None]), crop=(224, 224)),
        "rest": [
            True,
            False,
            None,
            -1,
            2**40,
            2**100,
            1.5,
            float("inf"),
            "x",
            b"\x00\xff",
            (),
            (1,),
            {"a"},
            frozenset("b"),
        ],
        3: {"key": {2.5: {None: {}}}},
    }
    assert_same(saved(checkpoint), checkpoint)


@pytest.mark.parametrize("dtype", DTYPES.split())
def test_every_data_type(saved, dtype):
    tensor = torch.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(torch, dtype))
    assert_same(saved([tensor, tensor[0, 0], tensor[:0], tensor.t()]), [tensor, tensor[0, 0], tensor[:0], tensor.t()])


def test_views_of_one_storage(saved):
    base = torch.arange(24.0).reshape(2, 3, 4)
    views = [base, base.permute(2, 0, 1), base[1], base[:, 1:, ::2], base[0, :, 3], base.select(1, 2), base[1, 2, 3]]
    views += [base.reshape(-1)[5:5], base[:, :, :1], base.unsqueeze(0), base.flatten().as_strided((3, 3), (2, 1), 4)]
    assert_same(saved(views), views)


def test_a_slice_knows_its_place_and_only_odd_strides_are_kept(saved):
    base = torch.arange(12.0).reshape(3, 4)
    whole, rows, transposed = saved([base, base[1:], base.t()])
    assert type(whole) is type(rows) is LazyTensor
    assert rows.offset == whole.offset + 16
    assert transposed.strides == (1, 4)


def test_an_expanded_tensor_is_refused(saved):
    with pytest.raises(CheckpointError, match="is larger than its storage"):
        saved(torch.zeros(1).expand(1000))


def test_parameters_sizes_types_and_devices(saved):
    parameter = torch.nn.Parameter(torch.arange(3.0))
    named = torch.nn.Parameter(torch.ones(2))
    named.tag = "kept by torch beside the tensor"
    found = saved([parameter, named, torch.Size([2, 3]), torch.float32, torch.device("cpu"), torch.device("cuda", 1)])
    assert_same(found[:2], [parameter, named])
    assert found[2:] == [(2, 3), "torch.float32", "cpu", "cuda:1"]
    assert type(found[2]) is tuple


def test_numpy_numbers(saved):
    numbers = [np.float64(1.5), np.float32(-0.5), np.float16(2), np.bool_(True)]
    whole = [
        np.int8(-1),
        np.int16(-2),
        np.int32(-3),
        np.int64(-4),
        np.uint8(200),
        np.uint16(5),
        np.uint32(6),
        np.uint64(7),
    ]
    assert_same(saved(numbers + whole), [1.5, -0.5, 2.0, True, -1, -2, -3, -4, 200, 5, 6, 7])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles(tmp_path, protocol):
    shared = ["twice"]
    content = {
        "a": [1, -1, 300, 70000, 2**80, 1.25],
        "b": (shared, shared),
        "c": {"": None},
        "d": {1, 2},
        "e": "\xe9\u20ac",
    }
    content |= {
        "long": "x" * 70000,
        "bytes": b"\xfe" * 300,
        "many": list(range(2000)),
        "f": frozenset([3]),
        "g": [True],
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol))
    found = open_pickled(tmp_path / "x.pkl")
    assert_same(found, content)
    assert found["b"][0] is found["b"][1]


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        (zipfile.ZipFile, "zipfile.ZipFile"),
        (np.arange(3), "_core.multiarray._reconstruct"),
        (bytearray(b"a"), "builtin.*bytearray"),
        (1 + 2j, "builtin.*complex"),
        (torch.nn.Identity(), "torch.nn.modules.linear.Identity"),
        (torch.zeros(2, dtype=torch.complex64), "torch.ComplexFloatStorage"),
        (torch.zeros(2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_everything_else_is_named_and_refused(saved, extra, name):
    with pytest.raises(
        CheckpointError, match=rf"wants to use '.*{name}.*'; only tensors, .*; if you trust the file, save"
    ):
        saved({"model": torch.zeros(1), "extra": extra})


def test_tensors_are_found_behind_padding_of_any_length(tmp_path):
    tensors = {f"{'n' * length}": torch.arange(length) for length in range(1, 70)}
    torch.save(tensors, tmp_path / "a_name_of_its_own.pt")
    found = open_pickled(tmp_path / "a_name_of_its_own.pt")
    assert_same(found, tensors)
    assert {tensor.offset % 64 for tensor in found.values()} == {0}  # as torch aligns them


def test_records_beyond_four_gigabytes(tmp_path):
    """A sparse file in which the tensors lie at 5 GiB, as those of a large model with its optimizer may."""
    torch.save(torch.arange(4.0), tmp_path / "small.pt")
    content = (tmp_path / "small.pt").read_bytes()
    shift = 5 * 2**30
    with zipfile.ZipFile(tmp_path / "small.pt") as archive:
        info = archive.getinfo("small/data/0")
        directory = archive.start_dir
    with (tmp_path / "large.pt").open("wb") as file:
        file.write(content[:directory])
        file.seek(shift + info.header_offset)
        file.write(content[info.header_offset : directory])
        position = file.tell()
        for entry in zipfile.ZipFile(tmp_path / "small.pt").infolist():
            moved = entry.filename == info.filename
            extra = struct.pack("<HHQ", 1, 8, shift + entry.header_offset) if moved else b""
            place = 0xFFFFFFFF if moved else entry.header_offset
            sizes = (
                entry.CRC,
                entry.compress_size,
                entry.file_size,
                len(entry.filename),
                len(extra),
                0,
                0,
                0,
                0,
                place,
            )
            file.write(struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, *sizes))
            file.write(entry.filename.encode() + extra)
        count, end = len(zipfile.ZipFile(tmp_path / "small.pt").infolist()), file.tell()
        file.write(struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, end - position, position))
        file.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
        file.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, end - position, 0xFFFFFFFF, 0))
    tensor = open_pickled(tmp_path / "large.pt")
    assert tensor.offset > shift
    np.testing.assert_array_equal(tensor.read(), [0, 1, 2, 3])


def test_a_large_model_with_its_optimizer(tmp_path):
    state = {f"encoder.layer.{number}.weight": torch.zeros(2, 3) for number in range(400)}
    steps = {
        number: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2, 3), "exp_avg_sq": torch.zeros(2, 3)}
        for number in range(400)
    }
    torch.save({"model": state, "model_ema": state, "optimizer": {"state": steps}}, tmp_path / "x.pt")
    found = open_pickled(tmp_path / "x.pt")
    assert len(found["model_ema"]) == len(found["optimizer"]["state"]) == 400


def test_reading_needs_no_torch(tmp_path):
    """Nothing is imported for a file, whatever it mentions."""
    torch.save({"a": torch.zeros(1), "b": argparse.Namespace(c=1)}, tmp_path / "x.pt")
    code = "import sys; from beit.weights.pickles import open_pickled; open_pickled(sys.argv[1])['a'].read(); "
    code += "assert not {'torch', 'jax', 'flax', 'msgpack'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "x.pt"], timeout=60).returncode == 0
