"""Hostile files of torch.save, of both kinds."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

from tests.weights.hostile.builders import MIB, SYSTEM, TOUCH, call, hostile, name, pickled, value, write


def storage(count, key="0", kind="FloatStorage"):
    return b"(" + value("storage") + name("torch", kind) + value(key) + value("cpu") + value(count) + b"tQ"


def tensor(count=4, shape=(4,), strides=(1,), offset=0, **options):
    function = name("torch._utils", "_rebuild_tensor_v2")
    return call(function, storage(count, **options), *map(value, (offset, shape, strides, False)), b"}")


def torch_file(folder, *instructions, records=None, compression=zipfile.ZIP_STORED):
    path = Path(folder) / "file.pt"
    entries = {"data.pkl": b"\x80\x02" + b"".join(instructions) + b".", "byteorder": b"little", "data/0": bytes(16)}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, content in (entries | (records or {})).items():
            archive.writestr(f"file/{entry}", content)
    return path


@hostile(r"is larger than its storage '0' of 16 bytes")
def stride_0_expansion_bomb(folder):
    return torch_file(folder, tensor(shape=(2**40,), strides=(0,)))


@hostile(r"is larger than its storage '0' of 16 bytes")
def tensor_past_its_storage(folder):
    return torch_file(folder, tensor(shape=(4,), offset=1))


@hostile(r"is larger than its storage '0' of 16 bytes")
def strides_past_the_storage(folder):
    return torch_file(folder, tensor(shape=(2, 2), strides=(3, 1)))


@hostile(r"storage '0' of 4398046511104 bytes has a record of 16")
def storage_larger_than_its_record(folder):
    return torch_file(folder, tensor(count=2**40, shape=(2**40,)))


@hostile(r"storage '\.\./\.\./etc/passwd' has no record")
def storage_outside(folder):
    return torch_file(folder, tensor(key="../../etc/passwd"))


@hostile(r"a storage \['storage', <_Name>")
def storage_of_negative_size(folder):
    return torch_file(folder, tensor(count=-4))


@hostile(r"storage '0' is described in two ways")
def storage_of_two_types(folder):
    return torch_file(folder, b"(", tensor(), tensor(kind="LongStorage", count=2, shape=(2,)), b"t")


@hostile(r"offset -1; expected a whole number")
def tensor_before_its_storage(folder):
    return torch_file(folder, tensor(offset=-1))


@hostile(r"shape \[nan\]; expected whole numbers")
def tensor_of_nan_elements(folder):
    return torch_file(folder, tensor(shape=(float("nan"),)))


@hostile(r"shape \[True\]; expected whole numbers")
def tensor_of_true_elements(folder):
    return torch_file(folder, tensor(shape=(True,)))


@hostile(r"strides \[-1\]; expected whole numbers")
def tensor_read_backwards(folder):
    return torch_file(folder, tensor(strides=(-1,)))


@hostile(r"more elements than fit into any memory")
def empty_tensor_of_huge_shape(folder):
    return torch_file(folder, tensor(shape=(0, 2**62), strides=(1, 1)))


@hostile(r"shape of 1000 axes")
def tensor_of_a_thousand_axes(folder):
    return torch_file(folder, tensor(shape=(1,) * 1000, strides=(1,) * 1000))


@hostile(r"wants to use 'torch\.QInt8Storage'")
def storage_of_unknown_type(folder):
    return torch_file(folder, tensor(kind="QInt8Storage"))


@hostile(r"a plain pickle has none")
def tensor_in_a_plain_pickle(folder):
    return pickled(folder, tensor())


@hostile(r"is compressed; torch\.save stores without compression")
def compressed_zip_bomb(folder):
    instructions = tensor(count=2**26, shape=(2**26,))
    return torch_file(folder, instructions, records={"data/0": bytes(64 * MIB)}, compression=zipfile.ZIP_DEFLATED)


@hostile(r"the directory of the zip file has \d+ bytes; expected at most")
def zip_of_a_million_records(folder):
    path = torch_file(folder, b"N")
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\x05\x06")
    directory = content[content.index(b"PK\x01\x02") : start]
    count = 5 * MIB // len(directory)
    content[start + 12 : start + 16] = struct.pack("<I", len(directory) * (count + 1))
    content[start:start] = directory * count
    return write(folder, "file.pt", content)


@hostile(r"0 records named data\.pkl")
def zip_without_a_pickle(folder):
    path = Path(folder) / "file.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "")
    return path


@hostile(r"2 records named data\.pkl")
def zip_with_two_pickles(folder):
    path = torch_file(folder, b"N")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps(1))
    return path


@hostile(r"the byte order is b'big'")
def zip_of_another_byte_order(folder):
    return torch_file(folder, tensor(), records={"byteorder": b"big"})


@hostile(r"not a zip file|damaged")
def zip_cut_short(folder):
    content = torch_file(folder, tensor()).read_bytes()
    return write(folder, "file.pt", content[: len(content) // 2])


@hostile(r"record 'file/data/0' has no header at byte 7")
def zip_record_elsewhere(folder):
    path = torch_file(folder, tensor())
    content = bytearray(path.read_bytes())
    where = content.rindex(b"PK\x01\x02") + 42  # of the last record, data/0
    content[where : where + 4] = struct.pack("<I", 7)
    return write(folder, "file.pt", content)


def legacy_file(folder, *instructions, little=True, keys=("0",), counts=(4,), content=bytes(16)):
    stream = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": little}):
        pickle.dump(part, stream, 2)
    stream.write(b"\x80\x02" + b"".join(instructions) + b".")
    pickle.dump(list(keys), stream, 2)
    for count in counts:
        stream.write(struct.pack("<q", count))
    return write(folder, "file.pth", stream.getvalue() + content)


@hostile(r"wants to use 'posix\.system'")
def legacy_command(folder):
    return legacy_file(folder, call(SYSTEM, TOUCH))


@hostile(r"storage '0' has 1099511627776 elements; the tensors expect 4")
def legacy_storage_of_another_length(folder):
    return legacy_file(folder, tensor(), counts=(2**40,))


@hostile(r"storage '0' ends at byte \d+ of \d+")
def legacy_storage_past_the_end(folder):
    return legacy_file(folder, tensor(count=2**40), counts=(2**40,))


@hostile(r"does not name those")
def legacy_storage_missing(folder):
    return legacy_file(folder, tensor(), keys=())


@hostile(r"little-endian")
def legacy_byte_order(folder):
    return legacy_file(folder, tensor(), little=False)


@hostile(r"bytes follow the last storage")
def legacy_rest(folder):
    return legacy_file(folder, tensor(), content=bytes(17))
