"""Processes that have imported everything and fork the runs of the tests: a start costs milliseconds, not seconds.

A fork server is asked for processes over a pipe: {"fork": ...} is answered by a process id, {"poll": id} by its status.
Every run is a process of its own, or several that train together, and calls `beit.cli.main.main` as the command does.
"""

import atexit
import faulthandler
import functools
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
_LONGEST = 240.0  # seconds; a run that takes longer hangs
_PAUSE = 0.02  # seconds between questions whether a run has ended, which would take its time from it
# Modules that a fork server imports before it forks. Those of models leave out huggingface_hub and all that imports it:
# the client reads once and for all from its environment where the hub is, so every process has to import it for itself.
_JOBS = [
    "beit.cli.pretrain", "beit.cli.finetune", "beit.cli.tokenizer", "beit.tasks.pretrain.task",
    "beit.tasks.finetune.task", "beit.tasks.segment.task", "beit.tasks.tokenizer.vq_kd", "beit.reports.report",
    "beit.inference.jobs.job", "sklearn.datasets", "matplotlib.pyplot", "torch._dynamo", "torch.distributed.fsdp",
]  # fmt: skip
_JAX = ["beit.engine.jax_backend", "beit.tasks.pretrain.jax_loss", "beit.tasks.finetune.jax_loss"]
WARM = {
    "jobs": _JOBS,
    "jax": [*_JOBS, *_JAX],  # imported, no more: a device of JAX that is used before a fork hangs after it
    "models": ["beit.data", "beit.image", "beit.models_torch", "pyarrow.parquet"],
}


COMMANDS = ["pretrain", "finetune", "segment", "tokenizer train", "tokenizer distill", "evaluate"]


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


class Process:
    """A process that a fork server forked; it has what the tests need of `subprocess.Popen`."""

    def __init__(self, fork_server, place, pid):
        self.pid, self.returncode = pid, None
        self._server, self._place = fork_server, place

    def poll(self):
        """Return the exit status; None: it still runs."""
        if self.returncode is None:
            self.returncode = self._server.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout=_LONGEST):
        """Return the exit status when it has ended; what takes longer is killed."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(_PAUSE)
        return self.returncode

    def communicate(self, timeout=_LONGEST):
        """Wait for it; return what it wrote, and its errors."""
        self.wait(timeout)
        return self.stdout, self.stderr

    @property
    def stdout(self):
        """What it wrote so far."""
        return (self._place / "out").read_text()

    @property
    def stderr(self):
        """The errors that it wrote so far."""
        return (self._place / "err").read_text()

    def send_signal(self, number):
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkServer:
    """The client; use it as a context."""

    def __init__(self, warm):
        self._warm = warm

    def __enter__(self):
        self._places = tempfile.TemporaryDirectory(prefix="fork_server-")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", self._warm],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **_ONE_THREAD},
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        return self

    def __exit__(self, *_):
        if self._server.poll() is None:
            self._server.stdin.write("\n")  # other processes forked from this one may keep the pipe open
        self._server.stdin.close()
        self._server.wait(30)
        self._server.stdout.close()
        self._places.cleanup()

    def ask(self, **request):
        """Send a request; return the answer."""
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, *arguments, program="beit.cli.main", code=None, cwd=None, env=None, start_new_session=False):
        """Start a process without waiting for it.

        Args:
            arguments: Of its command line.
            program: Module whose `main` takes the arguments.
            code: Python to run instead of a program.
            cwd: Folder to run in.
            env: More variables of the environment.
            start_new_session: Make it the leader of a group of processes.
        """
        place = Path(tempfile.mkdtemp(dir=self._places.name))
        pid = self.ask(
            fork={
                "place": str(place),
                "arguments": [str(argument) for argument in arguments],
                "program": program,
                "code": code,
                "cwd": str(cwd or Path.cwd()),
                "environment": {**os.environ, **_ONE_THREAD, **(env or {})},
                "session": start_new_session,
            }
        )
        return Process(self, place, pid)

    def run(self, *arguments, ranks=1, per_rank=(), kill_after=None, kill=None, env=None, **options):
        """Run a command line to its end.

        Args:
            arguments: Of the command line.
            ranks: Processes that train together.
            per_rank: More arguments for each of them.
            kill_after: Seconds after which it is killed, or a file whose existence is waited for.
            kill: Which of the processes; default: all of them.
            env: More variables of the environment.
            options: As for `start`.
        """
        together = _together(ranks) if ranks > 1 else [{}]
        began = time.monotonic()
        processes = [
            self.start(*arguments, *more, env={**variables, **(env or {})}, **options)
            for variables, more in zip(together, per_rank or [()] * ranks, strict=True)
        ]
        killed = kill_after is None
        while None in [process.poll() for process in processes]:
            now = time.monotonic() - began
            if not killed and (kill_after.exists() if isinstance(kill_after, Path) else now >= kill_after):
                killed = True
                for process in processes if kill is None else [processes[kill]]:
                    process.send_signal(signal.SIGKILL)
            if now > _LONGEST:
                for process in processes:
                    process.send_signal(signal.SIGKILL)
            time.sleep(_PAUSE if killed else 0.001)  # a kill has its moment
        outputs, errors = zip(*(process.communicate() for process in processes), strict=True)
        statuses = [process.returncode for process in processes]
        return Ended(statuses, list(outputs), list(errors), time.monotonic() - began)


@functools.cache
def fork_server(warm="jobs"):
    """Return a fork server of this process of the tests."""
    server = ForkServer(warm)
    server.__enter__()
    atexit.register(server.__exit__)
    return server


def _together(ranks):
    """Return the variables of processes that train together."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        common = {
            "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]), "ACCELERATE_USE_CPU": "true",
        }  # fmt: skip
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def _serve(warm):
    faulthandler.enable()  # to descriptor 2, which is each process's own: a crash names its place
    for name in WARM[warm]:
        import_module(name)
    if warm != "models":
        _warm_up()
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    for line in sys.stdin:
        if not line.strip():
            return
        request = json.loads(line)
        answer = _fork(**request["fork"]) if "fork" in request else _poll(request["poll"])
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def _warm_up():
    """Do once what every run would do for itself before its own work."""
    # no test is about the rate of this machine, which half a second of products measures
    import_module("beit.engine.throughput")._GEMM_SIDE["cpu"] = 128
    for command in COMMANDS:  # makes its parser, of the docstrings of all settings
        with redirect_stdout(io.StringIO()), suppress(SystemExit):
            import_module("beit.cli.main").main([*command.split(), "--help"])
    import_module("beit.reports.charts").layer_chart({"fonts are looked up, and layouts made": [0, 1]}, "")
    import_module("torchmetrics.functional.classification")  # imported where it is used, as it takes seconds


def _poll(child):
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _fork(place, program, arguments, code, cwd, environment, session):
    files = [os.open(os.devnull, os.O_RDONLY)]
    files += [os.open(Path(place, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in ("out", "err")]
    child = os.fork()
    if child:
        for file in files:
            os.close(file)
        return child
    status = 1
    try:
        for descriptor, file in enumerate(files):
            os.dup2(file, descriptor)
        if session:
            os.setsid()
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(cwd)
        sys.argv = [program, *arguments] if code is None else ["-c"]
        if code is None:
            status = import_module(program).main(arguments)
        else:
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102  # a test's own
            status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        import_module("traceback").print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
