"""Run the blocks of one page in order, in this process and this folder: `python play.py PAGE`."""

import io
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.docs.blocks import read_page
from tests.docs.programs import LIMITS, PARSE_ONLY
from tests.docs.published import RELEASE, use_release
from tests.docs.warm import SOCKET


def play(page):
    """Run a page; return 0, or 1 after saying which block failed."""
    names = {"__name__": "__main__"}
    for block in page.blocks:
        print(f"--- {page.path.name}, line {block.line}: {block.kind}", flush=True)
        try:
            if block.kind == "bash":
                run_shell(block)
            else:
                code = compile("\n" * (block.line - 1) + block.text, str(page.path), "exec")
                if not block.only_parsed:
                    run_python(code, names, None if page.shortened else block.printed)
        except (Exception, SystemExit):
            traceback.print_exc()
            print(f"{page.path}:{block.line}: this block failed", file=sys.stderr)
            return 1
    return 0


def run_python(code, names, expected):
    """Run a Python block, and compare what it prints with what the page shows."""
    said = io.StringIO()
    with redirect_stdout(said) if expected is not None else nullcontext():
        exec(code, names)  # noqa: S102  # our own documents
    print(said.getvalue(), end="")
    if expected is not None and said.getvalue().split() != expected.split():
        raise AssertionError(f"it prints {said.getvalue()!r}, and the page shows {expected!r}")


def run_shell(block):
    """Run a shell block as a reader would who stops at the first error."""
    environment = {**os.environ, LIMITS: "\n".join(block.limits)}
    if block.only_parsed:
        environment[PARSE_ONLY] = "1"
    subprocess.run(["bash", "-euo", "pipefail", "-c", block.text], env=environment, check=True)


@contextmanager
def warmed():
    """Have the process beside that the programs of shell blocks are forked from."""
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        os.environ[SOCKET] = f"{place}/warm"
        listener.bind(os.environ[SOCKET])
        listener.listen()  # who calls before the imports are done waits
        number = listener.fileno()
        command = [sys.executable, Path(__file__).with_name("warm.py"), str(number)]
        with subprocess.Popen(command, pass_fds=[number]) as beside:
            try:
                yield
            finally:
                beside.kill()


if __name__ == "__main__":
    if RELEASE in os.environ:
        use_release(os.environ[RELEASE])
    with warmed():
        raise SystemExit(play(read_page(Path(sys.argv[1]))))
