"""Stack machine for the instructions of a pickle, which executes no code.

A pickle is a program for a small stack machine. The machine here knows containers, numbers and strings, and builds
tensors as `LazyTensor`; no module is ever imported and no method of an object from the file is ever called, since
there are no such objects. Python's own Unpickler, however restricted, is not used: it gives a hostile file the means
to fill the memory (memo indices, copies of copies) or to hash a nested tuple for years.
"""

from __future__ import annotations

import argparse
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

from beit.errors import CheckpointError, shortened
from beit.weights.pickles.globals import CALLS, Job, called, hashable
from beit.weights.pickles.torch_objects import STORAGES, NumpyType, PickledModule, Storage
from beit.weights.storage.lazy_tensor import ITEM_SIZES, is_count

MAX_PICKLE = 64 * 2**20  # bytes of the pickle itself, without tensors; those of BEiT have less than one MiB
_MAX_INTEGER_BITS = 256  # the state of a random generator; larger ones only slow arithmetic down
_MAX_KEY = 100  # characters in the name of a storage, which is a number


def run_pickle(job: Job, file: BinaryIO, end: int) -> Any:
    """Return the object that a pickle builds, which starts where the file stands and ends before byte `end`.

    The file is left where the pickle ends. The object must not be traversed yet: it can contain itself, be very deep,
    or hold placeholders.

    Raises:
        ValueError: If the pickle is damaged, too large or too long.
        CheckpointError: If it names a function or class that is not in `globals`.
    """
    return _Machine(job).run(_Window(file, end))


class _Window:
    """Window of a file that a pickle may read; it never reads, nor allocates, more than is there."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file = file
        self._left = min(end - file.tell(), MAX_PICKLE)

    def read(self, count: int) -> bytes:
        found = self._file.read(min(count, self._left))
        self._left -= len(found)
        return found

    def readline(self) -> bytes:
        found = self._file.readline(self._left)
        self._left -= len(found)
        return found

    def tell(self) -> int:
        return self._file.tell()


@dataclass(frozen=True)
class _Name:
    """Placeholder of a function or class that a pickle may mention; `CALLS` holds the result of a call."""

    name: str


class _Machine:
    """Machine for one pickle; its stack holds plain data, `_Name`, `Storage` and `NumpyType` only."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}

    def run(self, window: _Window) -> Any:
        """Return the object that the pickle in the window builds."""
        for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", window)):
            self.job.spend(1)
            name = opcode.name
            if name in _PUSHED:
                self.stack.append(_literal(argument))
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            elif name not in _IGNORED:
                raise ValueError(f"instruction {name}, which torch.save never writes")
        if len(self.stack) != 1 or self.below:
            raise ValueError("the pickle ends in the middle of an object")
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    # Containers

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def make_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError(f"a tuple of {count} items, {len(self.stack)} are there")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError(f"items are added to a {type(target).__name__}, not to a list")
        cast("list[Any]", target).extend(items)

    def fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict) or len(items) % 2:
            raise ValueError(f"{len(items)} keys and values are set in a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[hashable(key)] = value

    def fill_set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not set:
            raise ValueError(f"items are added to a {type(target).__name__}, not to a set")
        cast("set[Any]", target).update(map(hashable, items))

    def make_dict(self, items: list[Any]) -> None:
        self.push({})
        self.fill(items)

    # Memo

    def put(self, index: int) -> None:
        # Picklers number objects one after the other, each with an instruction of its own.
        if not 0 <= index < self.job.steps:
            raise ValueError(f"memo index {index} after {self.job.steps} instructions")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"memo index {index}, which holds no object")
        self.stack.append(self.memo[index])

    # Objects

    def name(self, name: str) -> None:
        if name in CALLS or name in STORAGES or name in self.job.modules:
            self.stack.append(_Name(name))
        elif name.startswith("torch.") and name[6:] in ITEM_SIZES:
            self.stack.append(name)
        else:
            raise CheckpointError(
                f"{self.job.file.path} wants to use {shortened(name)}; only tensors, containers, numbers, strings and "
                "argparse.Namespace are read; if you trust the file, save its state_dict() alone where it was made"
            )

    def name_from_stack(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError(f"{shortened(module)} and {shortened(name)} are used as a name")
        self.name(f"{module}.{name}")

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or function.name not in CALLS.keys() | self.job.modules:
            raise ValueError(f"a {type(function).__name__} is called like a function")
        if not isinstance(arguments, tuple):
            raise ValueError(f"{function.name} is called with a {type(arguments).__name__}, not with a tuple")
        self.stack.append(called(self.job, function.name, cast("tuple[Any, ...]", arguments)))

    def set_state(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is argparse.Namespace and type(state) is dict:
            items = cast("dict[Any, Any]", state)
            self.job.spend(len(items))
            for key, value in items.items():
                if type(key) is not str or hasattr(argparse.Namespace, key):
                    raise ValueError(f"an argparse.Namespace has the attribute {shortened(key)}")
                vars(target)[key] = value
        elif isinstance(target, PickledModule) and type(state) is dict and not target.state:
            target.state = cast("dict[str, Any]", state)  # not copied: its keys have been checked
        elif isinstance(target, NumpyType):
            if not isinstance(state, tuple) or cast("tuple[Any, ...]", state)[1:2] not in (("<",), ("|",)):
                raise ValueError("a numpy number is not in little-endian order")
        elif type(target) is not OrderedDict:  # torch hangs version numbers of modules on these: of no use here
            raise ValueError(f"the state of a {type(target).__name__} is set, which has none")

    def storage(self, _: Any) -> None:
        given = self.stack.pop()
        fields: list[Any] = list(cast("tuple[Any, ...]", given)) if isinstance(given, tuple) else []
        # A sixth field would describe a view of another storage, which torch no longer writes.
        if len(fields) not in (5, 6) or fields[0] != "storage" or fields[5:] not in ([], [None]):
            raise ValueError(f"a reference {shortened(given)}; expected one to a storage of tensors")
        kind, key, count = fields[1], fields[2], fields[4]
        known = isinstance(kind, _Name) and kind.name in STORAGES
        if not known or not isinstance(key, str) or len(key) > _MAX_KEY or not is_count(count):
            raise ValueError(f"a storage {shortened(fields)}; expected its kind, key, place and number of elements")
        storage = Storage(key, STORAGES[kind.name], count)
        if self.job.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {shortened(key)} is described in two ways")
        self.stack.append(storage)


def _literal(value: Any) -> Any:
    if type(value) is int and value.bit_length() > _MAX_INTEGER_BITS:
        raise ValueError(f"a number of {value.bit_length()} bits; expected at most {_MAX_INTEGER_BITS}")
    if type(value) is str and not value.isascii():
        value.encode("utf-8")  # a pickle can spell half a character, which nobody could print
    return value


# What each instruction does. Those that are missing are refused.
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING"}
_TEXT = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_PUSHED = _BYTES | _TEXT | {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_IGNORED = frozenset(("PROTO", "FRAME", "STOP"))
_ACTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "DICT": lambda machine, _: machine.make_dict(machine.since_mark()),
    "FROZENSET": lambda machine, _: machine.push(frozenset(map(hashable, machine.since_mark()))),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.make_tuple(1),
    "TUPLE2": lambda machine, _: machine.make_tuple(2),
    "TUPLE3": lambda machine, _: machine.make_tuple(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.fill([machine.stack.pop(), machine.stack.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.fill(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.fill_set(machine.since_mark()),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": lambda machine, pair: machine.name(pair.replace(" ", ".")),
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.set_state,
    "BINPERSID": _Machine.storage,
}
