"""Hostile msgpack files, as Flax saves weights."""

from tests.weights.hostile.builders import hostile, write


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
