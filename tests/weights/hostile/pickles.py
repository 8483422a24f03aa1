"""Hostile pickles, put together from instructions."""

import pickle
import shutil
import struct

from tests.conftest import GOLDEN
from tests.weights.hostile.builders import MIB, SYSTEM, TOUCH, call, hostile, name, pickled, value

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
