"""Builders of hostile files, which run code, fill the memory or never end, each with the reason to refuse it."""

import io
import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

from tests.conftest import GOLDEN

HOSTILE = {}  # name -> builder(folder) -> path
REASONS = {}  # name -> pattern of the message
MIB = 2**20


def hostile(reason):
    def register(builder):
        HOSTILE[builder.__name__] = builder
        REASONS[builder.__name__] = reason
        return builder

    return register


# --- Pickles, put together from instructions


def write(folder, name, content):
    path = Path(folder) / name
    path.write_bytes(content)
    return path


def pickled(folder, *parts):
    return write(folder, "file.pkl", b"\x80\x02" + b"".join(parts) + b".")


def value(data):
    """The instructions that build a plain value."""
    return pickle.dumps(data, 2)[2:-1]


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def call(function, *arguments):
    return function + b"(" + b"".join(arguments) + b"tR"


SYSTEM = name("posix", "system")
TOUCH = value('touch "$BEIT_EVIL_MARKER"')
NAMESPACE = name("argparse", "Namespace") + b")\x81"


@hostile(r"wants to use '__builtin__\.eval'; only tensors, containers, numbers, strings and argparse\.Namespace")
def evil_pickle(folder):
    return shutil.copy(GOLDEN / "evil" / "evil.pkl", folder)


@hostile(r"wants to use '__builtin__\.eval'")
def evil_torch_file(folder):
    return shutil.copy(GOLDEN / "evil" / "evil_torch.pkl", folder)


@hostile(r"wants to use '__builtin__\.eval'")
def evil_argument_in_a_checkpoint(folder):
    return shutil.copy(GOLDEN / "evil" / "evil_checkpoint.pth", folder)


@hostile(r"wants to use 'posix\.system'")
def reduce_runs_a_command(folder):
    return pickled(folder, call(SYSTEM, TOUCH))


@hostile(r"wants to use 'posix\.system'")
def name_put_together_from_memo(folder):
    parts = value("posix") + b"q\x01" + value("system") + b"q\x02" + b"00h\x01h\x02\x93"
    return pickled(folder, parts, b"(", TOUCH, b"tR")


@hostile(r"wants to use 'torch\._utils\._rebuild_tensor_v2\.__globals__'")
def attribute_of_an_allowed_name(folder):
    return pickled(folder, value("torch._utils"), value("_rebuild_tensor_v2.__globals__"), b"\x93")


@hostile(r"wants to use 'beit\.weights\.pickles\.machine\._Machine'")
def names_of_the_reader_itself(folder):
    return pickled(folder, name("beit.weights.pickles.machine", "_Machine"))


@hostile(r"instruction INST")
def inst(folder):
    return pickled(folder, b"(", TOUCH, b"iposix\nsystem\n")


@hostile(r"instruction OBJ|wants to use 'posix\.system'")
def obj(folder):
    return pickled(folder, b"(", SYSTEM, TOUCH, b"o")


@hostile(r"instruction OBJ")
def obj_of_an_allowed_name(folder):
    return pickled(folder, b"(", name("collections", "OrderedDict"), b"o")


@hostile(r"instruction NEWOBJ_EX")
def newobj_with_keywords(folder):
    return pickled(folder, name("argparse", "Namespace"), b")}\x92")


@hostile(r"instruction EXT1")
def extension_registry(folder):
    return pickled(folder, b"\x82\x01")


@hostile(r"instruction PERSID")
def text_reference(folder):
    return pickled(folder, b"Pstorage\n")


@hostile(r"instruction BYTEARRAY8")
def byte_array(folder):
    return pickled(folder, b"\x96" + struct.pack("<Q", 1) + b"a")


@hostile(r"attribute '__class__'")
def build_sets_the_class(folder):
    return pickled(folder, NAMESPACE, value({"__class__": "dict"}), b"b")


@hostile(r"attribute '__dict__'")
def build_sets_the_dict(folder):
    return pickled(folder, NAMESPACE, value({"__dict__": {}}), b"b")


@hostile(r"attribute '_get_kwargs'")
def build_hides_a_method(folder):
    return pickled(folder, NAMESPACE, value({"_get_kwargs": 1}), b"b")


@hostile(r"the state of a Namespace is set")
def build_sets_slots(folder):
    return pickled(folder, NAMESPACE, value((None, {"__class__": 1})), b"b")


@hostile(r"the state of a _Name is set")
def build_on_a_class(folder):
    return pickled(folder, name("collections", "OrderedDict"), value((None, {"__setstate__": 1})), b"b")


@hostile(r"the state of a dict is set")
def build_with_setstate(folder):
    return pickled(folder, value({"__setstate__": 1}), value({"a": 1}), b"b")


@hostile(r"more than \d+ instructions")
def build_copies_for_ever(folder):
    state = value({f"a{number}": number for number in range(10_000)}) + b"r\x00\x20\x00\x00"
    return pickled(folder, state, (NAMESPACE + b"j\x00\x20\x00\x00b0") * 10_000)


@hostile(r"more than \d+ instructions")
def reduce_copies_for_ever(folder):
    text = value("a" * MIB) + b"q\x00"
    return pickled(folder, text, call(name("_codecs", "encode"), b"h\x00") * 5_000)


@hostile(r"positional argument")
def reduce_with_strange_arguments(folder):
    return pickled(folder, call(name("collections", "OrderedDict"), value([1]), value(2), value(3)))


@hostile(r"a str is called like a function")
def reduce_calls_a_string(folder):
    return pickled(folder, value("os.system"), b"(", TOUCH, b"tR")


@hostile(r"wants to use '_pickle\.loads'")
def nested_pickle(folder):
    inner = pickle.dumps(pickled(folder, call(SYSTEM, TOUCH)).read_bytes(), 4)[2:-1]
    return pickled(folder, call(name("_pickle", "loads"), inner))


@hostile(r"nested \d+ deep")
def deep_lists(folder):
    return pickled(folder, b"]" * 90_001, b"a" * 90_000)


@hostile(r"nested \d+ deep")
def deep_tuples(folder):
    return pickled(folder, b")", b"\x85" * 100_000)


@hostile(r"contains itself")
def cycle(folder):
    return pickled(folder, b"]q\x00h\x00a")


def doubled(first, twice, levels=60):
    """Instructions for (((a, a), (a, a)), ...), small in memory and 2**levels large for who walks through it."""
    gets = [(b"h" + bytes([level])) * 2 for level in range(levels)]
    steps = [twice[0] + get + twice[1] + b"q" + bytes([level + 1]) for level, get in enumerate(gets)]
    return first + b"q\x00" + b"".join(steps) + b"0" * (levels + 1) + b"h" + bytes([levels])


LAUGHING_LISTS = doubled(b"]", (b"(", b"l"))
LAUGHING_TUPLES = doubled(b")", (b"", b"\x86"))


@hostile(r"\d+ values nested \d+ deep")
def a_billion_laughs(folder):
    return pickled(folder, LAUGHING_LISTS)


@hostile(r"a tuple is used as a key")
def key_that_is_hashed_for_years(folder):
    return pickled(folder, b"}", LAUGHING_TUPLES, b"K\x01s")


@hostile(r"\[<tuple>, <tuple>\]")
def size_that_is_printed_for_years(folder):
    return pickled(folder, call(name("torch", "device"), value("cpu"), LAUGHING_TUPLES))


@hostile(r"memo index 2147483647")
def memo_bomb(folder):
    return pickled(folder, b"]r" + struct.pack("<I", 0x7FFFFFFF))


@hostile(r"memo index 99999999999")
def memo_bomb_in_text(folder):
    return pickled(folder, b"]p99999999999\n")


@hostile(r"only \d+ remain")
def string_longer_than_the_file(folder):
    return pickled(folder, b"\x8d" + struct.pack("<Q", 2**62) + b"a")


@hostile(r"a number of \d+ bits")
def number_of_a_million_bits(folder):
    return pickled(folder, b"\x8b" + struct.pack("<i", 125_000) + b"\x11" * 125_000)


@hostile(r"more than \d+ instructions")
def sets_by_the_million(folder):
    return pickled(folder, b"\x8f" * (8 * MIB))


@hostile(r"bytes follow the end of the pickle")
def bytes_after_the_end(folder):
    return pickled(folder, b"N", b".", b"rest")


# --- Files of torch.save


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


# --- safetensors


def safetensors_file(folder, header, data=bytes(16)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return write(folder, "file.safetensors", struct.pack("<Q", len(text)) + text + data)


def entry(begin=0, end=16, shape=(4,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@hostile(r"a header of 18446744073709551615 bytes in a file of 24")
def safetensors_huge_header(folder):
    return write(folder, "file.safetensors", b"\xff" * 8 + bytes(16))


@hostile(r"a header of 0 bytes")
def safetensors_no_header(folder):
    return safetensors_file(folder, b"")


@hostile(r"a header of more than \d+ values")
def safetensors_header_of_many_values(folder):
    return safetensors_file(folder, b"[" + b"[]," * (8 * MIB) + b"[]]")


@hostile(r"recursion")
def safetensors_deep_header(folder):
    return safetensors_file(folder, b"[" * 200_000)


@hostile(r"Expecting|damaged")
def safetensors_header_not_json(folder):
    return safetensors_file(folder, b"import os")


@hostile(r"the header is \[1, 2\], not an object")
def safetensors_header_of_a_list(folder):
    return safetensors_file(folder, [1, 2])


@hostile(r"data_offsets \[-16, 0\]")
def safetensors_negative_offset(folder):
    return safetensors_file(folder, {"a": entry(-16, 0)})


@hostile(r"data_offsets \[16, 0\]")
def safetensors_reversed_offsets(folder):
    return safetensors_file(folder, {"a": entry(16, 0)})


@hostile(r"the number 'NaN'")
def safetensors_nan_shape(folder):
    return safetensors_file(folder, {"a": entry(shape=[float("nan")])})


@hostile(r"the number '4\.0'")
def safetensors_float_shape(folder):
    return safetensors_file(folder, {"a": entry(shape=[4.0])})


@hostile(r"shape \[True\]")
def safetensors_true_shape(folder):
    return safetensors_file(folder, {"a": entry(shape=[True])})


@hostile(r"more elements than fit into any memory")
def safetensors_huge_shape(folder):
    return safetensors_file(folder, {"a": entry(shape=[2**60, 2**60])})


@hostile(r"'a' needs 64 bytes and is given 16")
def safetensors_larger_than_its_bytes(folder):
    return safetensors_file(folder, {"a": entry(shape=[16])})


@hostile(r"'a' stands twice")
def safetensors_duplicate_keys(folder):
    one = json.dumps(entry())
    return safetensors_file(folder, f'{{"a": {one}, "a": {one}}}'.encode())


@hostile(r"'b' starts at byte \d+; expected \d+")
def safetensors_overlap(folder):
    return safetensors_file(folder, {"a": entry(0, 12, [3]), "b": entry(8, 16, [2])})


@hostile(r"'b' starts at byte \d+; expected \d+")
def safetensors_hole(folder):
    return safetensors_file(folder, {"a": entry(0, 4, [1]), "b": entry(8, 16, [2])})


@hostile(r"tensors end at byte \d+, the file at byte")
def safetensors_truncated(folder):
    return safetensors_file(folder, {"a": entry()}, bytes(12))


@hostile(r"tensors end at byte \d+, the file at byte")
def safetensors_rest(folder):
    return safetensors_file(folder, {"a": entry()}, bytes(17))


@hostile(r"data type 'F8_E4M3'")
def safetensors_unknown_type(folder):
    return safetensors_file(folder, {"a": entry(shape=[16], dtype="F8_E4M3")})


@hostile(r"'a' is <dict>; expected dtype, shape and data_offsets")
def safetensors_without_a_shape(folder):
    return safetensors_file(folder, {"a": {"dtype": "F32", "data_offsets": [0, 16]}})


@hostile(r"__metadata__ holds 1, not a string")
def safetensors_metadata_of_numbers(folder):
    return safetensors_file(folder, {"__metadata__": {"a": 1}, "a": entry()})


# --- msgpack


def msgpack_file(folder, content):
    return write(folder, "file.msgpack", content)


def msgpack_array(shape=b"\x91\x04", dtype=b"float32", data=bytes(16), code=1):
    payload = b"\x93" + shape + bytes([0xA0 | len(dtype)]) + dtype + b"\xc4" + bytes([len(data)]) + data
    return b"\xc7" + bytes([len(payload), code]) + payload


@hostile(r"an array of 4294967295 bytes at byte 9, 1 are left")
def msgpack_array_of_4_gib(folder):
    return msgpack_file(folder, b"\x81\xa1a\xc9\xff\xff\xff\xff\x01\x93")


@hostile(r"a string of 4294967295 bytes")
def msgpack_string_of_4_gib(folder):
    return msgpack_file(folder, b"\x81\xdb\xff\xff\xff\xff")


@hostile(r"a map of 4294967295 entries")
def msgpack_map_of_4_giga_entries(folder):
    return msgpack_file(folder, b"\xdf\xff\xff\xff\xff\xa1a\x01")


@hostile(r"maps are nested more than 64 deep")
def msgpack_deep(folder):
    return msgpack_file(folder, b"\x81\xa1a" * 100_000 + b"\x01")


@hostile(r"'a' stands twice")
def msgpack_duplicate_keys(folder):
    return msgpack_file(folder, b"\x82\xa1a\x01\xa1a\x02")


@hostile(r"type byte 0x01 at byte 1; expected a string")
def msgpack_key_of_a_number(folder):
    return msgpack_file(folder, b"\x81\x01\x01")


@hostile(r"1 bytes follow the end")
def msgpack_rest(folder):
    return msgpack_file(folder, b"\x81\xa1a\x01\x00")


@hostile(r"not a map")
def msgpack_of_a_number(folder):
    return msgpack_file(folder, b"\x01")


@hostile(r"extension code 2 \(a complex number\)")
def msgpack_complex_number(folder):
    return msgpack_file(folder, b"\x81\xa1a" + msgpack_array(code=2))


@hostile(r"needs 20 bytes; it announces 16")
def msgpack_shape_larger_than_its_bytes(folder):
    return msgpack_file(folder, b"\x81\xa1a" + msgpack_array(shape=b"\x91\x05"))


@hostile(r"shape \[-1\]")
def msgpack_negative_shape(folder):
    return msgpack_file(folder, b"\x81\xa1a" + msgpack_array(shape=b"\x91\xff"))


@hostile(r"a shape of 4294967295 axes")
def msgpack_shape_of_4_giga_axes(folder):
    return msgpack_file(folder, b"\x81\xa1a" + msgpack_array(shape=b"\xdd\xff\xff\xff\xff"))


@hostile(r"data type 'object'")
def msgpack_array_of_objects(folder):
    return msgpack_file(folder, b"\x81\xa1a" + msgpack_array(dtype=b"object"))


@hostile(r"type byte 0x91 at byte 3")
def msgpack_list(folder):
    return msgpack_file(folder, b"\x81\xa1a\x91\x01")


@hostile(r"in pieces")
def msgpack_array_in_pieces(folder):
    return msgpack_file(folder, b"\x81\xb9__msgpack_chunked_array__\xc3")
