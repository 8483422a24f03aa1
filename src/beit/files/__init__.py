"""Files on disk: atomic, synced writes with the mode of the umask, and one reader of small files.

Everything of ours that reaches a disk goes through here, and every small file of ours comes back through `read_json` or
`read_yaml`, which say which file is damaged and what to do.
"""

from beit.files.appended import AppendedFile
from beit.files.lock import is_held, killed_holder, locked, locked_output
from beit.files.patterns import expanded, is_pattern
from beit.files.places import check_apart, check_output
from beit.files.reading import (
    check_path,
    end_of,
    file_lines,
    open_regular,
    parse_json,
    read_json,
    read_regular,
    read_yaml,
    reading,
    regular_descriptor,
    size_of,
)
from beit.files.strict import MisreadNumberError, first_twice, strict_csv, strict_json, strict_yaml
from beit.files.writing import (
    atomic_file,
    atomic_folder,
    atomic_stream,
    cache_folder,
    discard_leftovers,
    discard_leftovers_of,
    identity_of,
    make_folder,
    move_into_place,
    storage_error,
    write_bytes,
    write_json,
    write_text,
)

__all__ = [
    "AppendedFile",
    "MisreadNumberError",
    "atomic_file",
    "atomic_folder",
    "atomic_stream",
    "cache_folder",
    "check_apart",
    "check_output",
    "check_path",
    "discard_leftovers",
    "discard_leftovers_of",
    "end_of",
    "expanded",
    "file_lines",
    "first_twice",
    "identity_of",
    "is_held",
    "is_pattern",
    "killed_holder",
    "locked",
    "locked_output",
    "make_folder",
    "move_into_place",
    "open_regular",
    "parse_json",
    "read_json",
    "read_regular",
    "read_yaml",
    "reading",
    "regular_descriptor",
    "size_of",
    "storage_error",
    "strict_csv",
    "strict_json",
    "strict_yaml",
    "write_bytes",
    "write_json",
    "write_text",
]
