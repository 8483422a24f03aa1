"""Environments of other implementations, each with its own versions, made once under .interop/."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from about import kind, name_of

ROOT = Path(__file__).parents[1]
TRANSFORMERS = ("4.37.2", "5.23.0")


def python_of(version):
    """Return the interpreter of an environment with this version of transformers, in which ours can train too."""
    folder = ROOT / ".interop" / version
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if subprocess.run([python, "-c", "import transformers, torch, PIL, accelerate"], capture_output=True).returncode:
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt"]
        subprocess.run([*install, "torch", f"transformers=={version}", "Pillow", "accelerate"], check=True, cwd=ROOT)
    return python


def with_source():
    """Return this process's environment, with our package before everything else that Python finds.

    Each kind of processor has compiled programs of its own: torch takes those of other instructions for its own, and
    they crash.
    """
    path = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    compiled = Path(tempfile.gettempdir(), f"beit-benchmarks-{name_of(kind())}")
    shared = {"TORCHINDUCTOR_CACHE_DIR": str(compiled)}
    return {**shared, **os.environ, "PYTHONPATH": os.pathsep.join(path)}


def ask(python, worker, *arguments):
    """Run a script in an environment, with our package beside it, and return the JSON that it prints last."""
    done = subprocess.run([python, worker, *arguments], env=with_source(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the worker failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


class Worker:
    """Process that runs one implementation on some cores."""

    def __init__(self, python, script, implementation, folder, cores):
        command = [python, script, implementation, folder, str(cores)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what):
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"a worker ended with status {self.process.wait()}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
