"""Provenance of a result: machine, date, versions and commit, written beside the numbers."""

import json
import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
LIMITS = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")  # under which another kind is played


def about(*packages):
    """Return the machine, the date, the versions of Python and some packages, and the commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {
        "machine": f"{platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        "date": date.today().isoformat(),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "commit": commit,
    }


def write_result(path, numbers, *packages):
    """Write numbers as JSON, after what they were measured with."""
    Path(path).write_text(json.dumps({**about(*packages), **numbers}, indent=2) + "\n")


def _processor():
    """Return the processor's name and kind, and those of its instructions that decide how fast it multiplies."""
    listed = Path("/proc/cpuinfo")
    first = listed.read_text().split("\n\n")[0].splitlines() if listed.exists() else []
    known = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first)}
    if "model name" not in known:
        return platform.processor() or "unknown processor"
    flags = [flag for flag in INSTRUCTIONS if flag in known.get("flags", "").split()]
    shown = ", ".join(flags) or "neither AVX2 nor AVX-512"
    kind = f"family {known.get('cpu family')}, model {known.get('model')}: {shown}"
    limits = "".join(f", {name}={os.environ[name]}" for name in LIMITS if name in os.environ)
    return f"{known['model name']} ({kind}{limits})"
