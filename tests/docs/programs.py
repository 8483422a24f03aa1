"""The programs that the shell blocks of the documents call: beit and its launchers, shortened or only parsed.

`python programs.py NAME ARGUMENTS...` is what NAME means in a block. Training commands get the block's limits, after
what is printed was parsed without them. Where the block cannot be run here, the program parses what it is given, as the
real one would, and ends.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

LIMITS = "BEIT_DOCS_LIMITS"  # one option or value per line
PARSE_ONLY = "BEIT_DOCS_PARSE_ONLY"
TRAININGS = (
    ("pretrain",), ("finetune",), ("distill",), ("segment",), ("tokenizer", "train"), ("tokenizer", "distill")
)  # fmt: skip
WORKED_OUT = {"beit": [sys.executable, "-m", "beit"], "torchrun": [sys.executable, "-m", "torch.distributed.run"],
              "accelerate": [sys.executable, "-m", "accelerate.commands.accelerate_cli"]}  # fmt: skip


def main(name, *arguments):
    """Be one program; return its exit status."""
    arguments = list(arguments)
    if name == "pip":
        return check_pip(arguments)
    inner = arguments if name == "beit" else launched(name, arguments)
    limited = arguments + (os.environ.get(LIMITS, "").splitlines() if is_training(inner) else [])
    if PARSE_ONLY in os.environ:
        return run(parse_beit, inner)
    if limited != arguments and (status := run(parse_beit, inner)):  # limits must not hide what fails for a reader
        return status
    if name == "beit":
        return run(run_beit, limited)
    return subprocess.run([*WORKED_OUT[name], *limited], check=False).returncode


def is_training(arguments):
    """Return whether these are the arguments of a `beit` command that trains."""
    return any(tuple(arguments[: len(words)]) == words for words in TRAININGS) and "--help" not in arguments


def launched(name, arguments):
    """Return what a launcher passes to `python -m beit`, after its own parser has read the rest."""
    if name == "torchrun":
        from torch.distributed.run import parse_args

        given = parse_args(arguments)
    else:
        from accelerate.commands.launch import launch_command_parser

        assert arguments[0] == "launch", arguments
        given = launch_command_parser().parse_args(arguments[1:])
    assert given.module, f"{name} {arguments}: expected -m beit"
    assert given.training_script == "beit", given.training_script
    return list(given.training_script_args)


def run(function, arguments):
    """Call a function of this file, in a process that is forked from a warm one if there is one; return its status."""
    from tests.docs.warm import SOCKET, called

    return called(function.__name__, arguments) if SOCKET in os.environ else function(arguments)


def run_beit(arguments):
    """Run the real command, from the stand-ins where there are any."""
    from beit.cli.main import main as beit
    from tests.docs.published import RELEASE, use_release

    if RELEASE in os.environ:
        use_release(os.environ[RELEASE])
    return beit(arguments)


def parse_beit(arguments):
    """Read the settings of a `beit` command and stop there; a wrong one fails as ever."""
    from beit.cli.main import main as beit
    from beit.cli.parser import SettingsParser

    build = SettingsParser.build
    SettingsParser.build = _then_stop(build)  # every command makes its job there
    try:
        return beit(arguments)
    except Parsed:
        return 0
    finally:
        SettingsParser.build = build


class Parsed(BaseException):
    """The settings are right."""


def _then_stop(parse):
    from beit.cli.early_checks import check_warmup

    def stopping(*arguments, **options):
        job = parse(*arguments, **options)
        if hasattr(job, "optim"):
            check_warmup(job.optim, job.train)
        raise Parsed

    return stopping


def check_pip(arguments):
    """Check that a `pip install` takes the package from the checkout, and that its extras and constraints exist."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert arguments[0] == "install", arguments
    if "-c" in arguments:
        assert (ROOT / arguments[arguments.index("-c") + 1]).is_file(), arguments
    for argument in arguments:
        assert not argument.startswith("beit"), "beit is not published; expected -e '.[EXTRA]' in the checkout"
        if match := re.fullmatch(r"\.\[([\w,]+)\]", argument):
            unknown = set(match[1].split(",")) - project["optional-dependencies"].keys()
            assert not unknown, f"there is no extra {unknown}"
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
