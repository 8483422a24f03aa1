"""Hostile safetensors files."""

import json
import struct

from tests.weights.hostile.builders import MIB, hostile, write


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
