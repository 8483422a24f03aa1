"""Environments of other implementations, each with its own versions, made once under .interop/."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRANSFORMERS = ("4.37.2", "5.23.0")


def python_of(version):
    """Return the interpreter of an environment with this version of transformers and Pillow."""
    folder = ROOT / ".interop" / version
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if subprocess.run([python, "-c", "import transformers, torch, PIL"], capture_output=True).returncode:
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt"]
        subprocess.run([*install, "torch", f"transformers=={version}", "Pillow"], check=True, cwd=ROOT)
    return python
