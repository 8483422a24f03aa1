"""A process that has imported everything and forks the runs of the tests: a start costs milliseconds, not seconds.

Every run is a process of its own, or several that train together, and calls `beit.cli.main.main` as the command does.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

_LONGEST = 240.0  # seconds; a run that takes longer hangs


@dataclass
class Ended:
    """How a run ended: the exit status of each process (-9: killed), what each wrote, and the seconds it took."""

    statuses: list[int]
    outputs: list[str]
    errors: list[str]
    seconds: float

    @property
    def returncode(self):
        """The exit status of the first process."""
        return self.statuses[0]

    @property
    def stdout(self):
        """What the first process wrote."""
        return self.outputs[0]

    @property
    def stderr(self):
        """The errors that the first process wrote."""
        return self.errors[0]


class Nursery:
    """The client; use it as a context."""

    def __enter__(self):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.nursery"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        return self

    def __exit__(self, *_):
        if self._server.poll() is None:
            self._server.stdin.write("\n")  # other processes forked from this one may keep the pipe open
        self._server.stdin.close()
        self._server.wait(30)
        self._server.stdout.close()

    def run(self, *arguments, ranks=1, per_rank=(), kill_after=None, kill=None, program="beit.cli.main"):
        """Run a command line to its end.

        Args:
            arguments: Of the command line.
            ranks: Processes that train together.
            per_rank: More arguments for each of them.
            kill_after: Seconds after which it is killed, or a file whose existence is waited for.
            kill: Which of the processes; default: all of them.
            program: Module whose `main` takes the arguments.
        """
        request = {
            "arguments": [str(argument) for argument in arguments],
            "ranks": ranks,
            "per_rank": list(per_rank),
            "kill_after": str(kill_after) if isinstance(kill_after, Path) else kill_after,
            "kill": list(range(ranks)) if kill is None else [kill],
            "program": program,
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))


def _serve():
    for name in ("pretrain", "finetune", "tokenizer"):
        import_module(f"beit.cli.{name}")
    for name in ("tasks.pretrain.task", "tasks.finetune.task", "tasks.tokenizer.vq_kd", "reports.report"):
        import_module(f"beit.{name}")
    for name in ("sklearn.datasets", "matplotlib.pyplot", "torch._dynamo", "torch.distributed.fsdp"):
        import_module(name)  # what a run imports when it first needs it
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    for line in sys.stdin:
        if not line.strip():
            return
        replies.write(json.dumps(_answer(**json.loads(line))) + "\n")
        replies.flush()


def _answer(arguments, ranks, per_rank, kill_after, kill, program):
    with tempfile.TemporaryDirectory() as place, socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
        free.close()
        began = time.monotonic()
        children = [
            _fork(Path(place), program, arguments + (per_rank[rank] if per_rank else []), rank, ranks, port)
            for rank in range(ranks)
        ]
        statuses = [None] * ranks
        killed = False
        while None in statuses:
            now = time.monotonic() - began
            due = os.path.exists(kill_after) if isinstance(kill_after, str) else now >= (kill_after or _LONGEST)
            if (due and not killed) or now > _LONGEST:
                killed = True
                for rank in kill if now < _LONGEST else range(ranks):
                    if statuses[rank] is None:
                        os.kill(children[rank], signal.SIGKILL)
            for rank, child in enumerate(children):
                if statuses[rank] is None:
                    found, status = os.waitpid(child, os.WNOHANG)
                    statuses[rank] = os.waitstatus_to_exitcode(status) if found else None
            time.sleep(0.001)
        read = [[(Path(place) / f"{kind}{rank}").read_text() for rank in range(ranks)] for kind in ("out", "err")]
        return {"statuses": statuses, "outputs": read[0], "errors": read[1], "seconds": time.monotonic() - began}


def _fork(place, program, arguments, rank, ranks, port):
    written = [os.open(place / f"{kind}{rank}", os.O_WRONLY | os.O_CREAT) for kind in ("out", "err")]
    child = os.fork()
    if child:
        for descriptor in written:
            os.close(descriptor)
        return child
    status = 70
    try:
        for descriptor, file in zip((1, 2), written, strict=True):
            os.dup2(file, descriptor)
        if ranks > 1:
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true",
            }  # fmt: skip
        status = import_module(program).main(arguments)
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        import_module("traceback").print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
