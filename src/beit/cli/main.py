"""Entry point of the command line: the list of commands, and their errors as one line.

Every command is a module of this package with a function `run(arguments)`; only the chosen one is imported.
"""

from __future__ import annotations

import difflib
import errno
import gc
import io
import logging
import os
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType, TracebackType

from beit import __version__
from beit.cli.process import prepare
from beit.errors import BeitError, ConfigError, MissingExtraError, RunPaused, missing_extra, printable, shortened

COMMANDS = {
    "demo": "the whole job in minutes, on embedded pictures of handwritten digits",
    "tokenizer": "train a tokenizer, encode pictures, look at reconstructions",
    "pretrain": "pre-train a BEiT on a folder of pictures, no labels needed",
    "finetune": "fine-tune a pre-trained BEiT (or train from scratch) on classes of pictures",
    "distill": "train a small classifier to do what a trained one does",
    "segment": "train a BEiT to predict the class of every pixel",
    "statistics": "measure mean and deviation of the colours of pictures",
    "evaluate": "measure a fine-tuned model on labelled pictures",
    "benchmark": "compare the frozen features of models by kNN, linear probes and few-shot",
    "predict": "say what is in pictures",
    "serve": "answer over HTTP what is in pictures, and a page to try it",
    "watch": "look at a run while it works",
    "info": "say what a path holds (a model, run, recipe, pictures, ...) and what to do with it",
    "models": "list the published checkpoints",
    "recipes": "list the recipes of the package, or print one",
    "doctor": "show versions, extras, processor, GPU and how fast they multiply",
    "completion": "print what makes a shell complete commands, settings and recipes",
    "export": "write a model for onnxruntime, OpenVINO, torch alone or a page in the browser, and check it",
    "convert": "write a checkpoint in another layout",
}
CONTINUED = (
    "demo",
    "tokenizer",
    "pretrain",
    "finetune",
    "distill",
    "segment",
    "predict",
)  # after a stop, by the same command
_CONTINUES = "; the same command goes on from what was saved, if anything was"
# Faults of disks and networks, and limits of a process, which no command can do anything about.
_OF_THE_MACHINE = (errno.EIO, errno.ESTALE, errno.ENFILE, errno.EMFILE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EFBIG)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_AS_EXPECTED = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP)
_AGAIN = 0.01  # seconds after which SIGTERM is looked at again, where what it raises would be lost
HELP_WORDS = ("-h", "--help", "--help-all", "help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 an error that the user can fix, 2 wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # names of files need be of no encoding at all
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if os.environ.get("RANK", "0") != "0":  # of several processes the first one speaks; what ends one is said by each
        logging.getLogger("beit").setLevel(logging.ERROR)
    if not arguments or arguments[0] in HELP_WORDS:
        return _printed(_help(), 0 if arguments else 2)
    if arguments[0] == "--version":
        return _printed(f"beit {__version__}", 0)
    if arguments[0] not in COMMANDS:
        return _fail(f"there is no command {arguments[0]!r}{nearest(arguments[0], COMMANDS)}; see beit --help", 2)
    return _guarded(arguments)


def listed(summaries: dict[str, str]) -> str:
    """Return names, each with its summary behind it, as narrow as the terminal."""
    indent, columns = max(map(len, summaries)) + 4, shutil.get_terminal_size().columns
    lines = (
        textwrap.fill(summary, columns, initial_indent=f"  {name:<{indent - 2}}", subsequent_indent=" " * indent)
        for name, summary in summaries.items()
    )
    return "\n".join(lines)


def nearest(word: str, known: Sequence[str] | dict[str, str], least: float = 0.5) -> str:
    """Return "; did you mean X?" for the known word that is most like this one, at least so much, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=least)
    return f"; did you mean {found[0]}?" if found else ""


def _guarded(arguments: list[str]) -> int:
    """Run one command; what a user can fix becomes one line, everything else keeps its traceback."""
    try:
        with _tidied_at_sigterm():
            prepare(arguments[0])
            _check_folder()
            return _run(arguments)
    except RunPaused as pause:
        if os.environ.get("RANK", "0") == "0":
            print(pause)
        return 130 if pause.interrupted else 0
    except MissingExtraError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("beit"):
            raise
        return _fail(str(missing_extra(error.name, "train")))
    except BeitError as error:
        from beit.cli.recipe_origin import origin_of

        return _fail(f"{error}{origin_of(str(error), arguments)}")
    except KeyboardInterrupt as stop:
        _leave_quietly()
        continues = _CONTINUES if arguments[0] in CONTINUED else ""
        ended = isinstance(stop, _Terminated)
        return _fail(f"{'terminated' if ended else 'interrupted'}{continues}", 143 if ended else 130)
    except BrokenPipeError:  # as from `| head`
        return dropped_output()
    except OSError as error:
        place = error.filename or "a file"
        if error.filename is None and error.errno in _FULL:  # most likely what is printed to
            dropped_output()
        if error.errno in (*_FULL, errno.EROFS):
            return _fail(f"cannot write {place}: {error.strerror}; free space or choose another folder")
        if error.errno in _OF_THE_MACHINE:
            return _fail(f"cannot use {place}: {error.strerror}; see to the disk, the network or the machine's limits")
        if error.errno == errno.ENAMETOOLONG:
            return _fail(f"{shortened(place)} is no path: {error.strerror}; shorten it")
        if error.errno in (errno.EACCES, errno.EPERM):
            return _fail(f"no right to use {place}: {error.strerror}; change its permissions or choose another place")
        if error.filename is not None and error.errno in _NOT_AS_EXPECTED:
            return _fail(f"cannot use {place}: {error.strerror}; see what lies there, and put the file back")
        raise


def _run(arguments: list[str]) -> int:
    """Run one command, and write out what it printed: what fails later is a traceback of Python's."""
    try:
        status = import_module(f"beit.cli.{arguments[0]}").run(arguments[1:])
    except SystemExit:  # after its help
        _write_out()
        raise
    _write_out()
    return status


def _printed(text: str, status: int) -> int:
    """Print a text, and return the exit status."""
    try:
        print(text)
        _write_out()
    except BrokenPipeError:
        return dropped_output()
    except OSError as error:
        dropped_output()
        return _fail(f"cannot print: {error.strerror}; free space, or print to another place")
    return status


def _write_out() -> None:
    """Write out what is buffered, where there is an output at all."""
    if sys.stdout is not None:  # as where the descriptor was closed
        sys.stdout.flush()


def dropped_output() -> int:
    """Let what is still buffered go nowhere, or Python complains at its end; return the status of an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _check_folder() -> None:
    """Refuse to work in a folder that has gone: libraries do not find themselves, and end in errors of all kinds.

    Raises:
        ConfigError: Naming what to do.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ConfigError(
            "the folder that this command runs in has gone; change to one that exists (cd), and give it again"
        ) from None


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which undoes what is half done as Ctrl-C does."""


@contextmanager
def _tidied_at_sigterm() -> Generator[None]:
    """Raise at SIGTERM inside, so that locks and unfinished files are removed; trainings and the service do more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    command = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != command:  # a process that it has forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        _leave_quietly()
        if not _is_ignored_in(frame):
            raise _Terminated
        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)

    def again(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _leave_quietly() -> None:
    """Have threads that serve other processes say nothing of those that end too; Python prints a traceback of each."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, (ConnectionError, EOFError)):
            before(kind, error, trace)

    sys.excepthook = hook


def _is_ignored_in(frame: FrameType | None) -> bool:
    """Return whether Python only prints what is raised here: in `__del__` and in callbacks of its collector."""
    of_collector = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code in of_collector:
            return True
        frame = frame.f_back
    return False


def _fail(message: str, status: int = 1) -> int:
    print(f"beit: {printable(' '.join(message.split()))}", file=sys.stderr)
    return status


def _help() -> str:
    return (
        textwrap.dedent(
            """\
            BEiT: pre-training of image transformers by masked image modelling.

            usage: beit COMMAND [RECIPE] [--setting VALUE ...]

            commands:
            {listing}

            A recipe is a YAML file of settings, or the name of one in the package
            (`beit recipes`); settings on the command line win over it. One that is true or
            false may stand alone: --flips is --flips true. `beit COMMAND --help` explains
            the settings that most people use, `beit COMMAND --help-all` every one; `beit
            COMMAND [RECIPE] --print_config` prints them all, resolved, as a new recipe.

            first steps:
              beit demo
              beit pretrain --data.path my_pictures/ --model.size tiny \\
                --run.output runs/mine
              beit finetune --checkpoint runs/mine/model --data.path my_classes/
              beit predict runs/finetune/model picture.jpg
              beit serve runs/finetune/model
            """
        )
        .format(listing=listed(COMMANDS))
        .rstrip()
    )
