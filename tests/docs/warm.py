"""A process beside a page that has imported what `beit` needs and forks each one that the page's shell calls.

A page calls a dozen, and each would import torch and its libraries for some seconds of a processor. What runs is the
command itself, with the arguments, folder, environment and files of its caller, who hands its signals on.
`python warm.py NUMBER` answers at the listening socket of that number; `called` asks there.
"""

import json
import os
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fork_server import WARM

SOCKET = "BEIT_DOCS_WARM"  # environment variable: the address of that socket
_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STREAMS = (0, 1, 2)


def called(function, arguments):
    """Call a function of `tests.docs.programs` in a process of its own; return its exit status."""
    request = {"function": function, "arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[SOCKET])
        socket.send_fds(connection, [b"\n"], _STREAMS)
        connection.sendall(json.dumps(request).encode() + b"\n")
        answers = connection.makefile()
        process = int(answers.readline())
        for number in _HANDED_ON:
            signal.signal(number, lambda number, _: os.kill(process, number))
        return int(answers.readline())


def listen(listener):
    """Answer calls until this process is killed."""
    for name in WARM["jobs"]:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes in between
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return answer(connection)
        connection.close()


def answer(connection):
    """Say the number of a process that does what is asked, and its exit status once it has one; or be that process."""
    _, streams, *_ = socket.recv_fds(connection, 1, len(_STREAMS))
    with connection, connection.makefile("rw") as caller:
        request = json.loads(caller.readline())
        process = os.fork()
        if process:
            for stream in (*_STREAMS, *streams):
                os.close(stream)  # who reads them waits for their end
            print(process, file=caller, flush=True)
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            print(status if status >= 0 else 128 - status, file=caller, flush=True)
            os._exit(0)
    for stream, given in zip(_STREAMS, streams, strict=True):
        os.dup2(given, stream)
        os.close(given)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["beit", *request["arguments"]]
    return getattr(import_module("tests.docs.programs"), request["function"])(request["arguments"])


if __name__ == "__main__":
    raise SystemExit(listen(socket.socket(fileno=int(sys.argv[1]))))
