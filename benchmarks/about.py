"""Provenance of a result: machine, date, versions and commit, written beside the numbers."""

import json
import os
import platform
import re
import shutil
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}
LIMITS = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")  # under which another kind is played


def about(*packages):
    """Return the machine, the date, the versions of Python and some packages, and the commit."""
    return {
        "machine": f"{platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        "kind": kind(),
        "date": date.today().isoformat(),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "commit": _commit(),
    }


def _commit():
    """Return the commit, or that it is not known: a copy of the files alone may run on a lent machine without Git."""
    if shutil.which("git") is None:
        return "unknown"
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def write_result(path, numbers, *packages):
    """Write numbers as JSON, after what they were measured with."""
    Path(path).write_text(json.dumps({**about(*packages), **numbers}, indent=2) + "\n")


def kind():
    """Return the kind of the processor in a few words; one that is limited to older instructions is another kind."""
    known = _cpuinfo()
    vendor = VENDORS.get(known.get("vendor_id"), known.get("vendor_id") or platform.machine())
    named = f"{vendor} {known['cpu family']}/{known['model']}" if "cpu family" in known else vendor
    limits = {os.environ[name].upper() for name in LIMITS if name in os.environ}
    return f"{named} as {' and '.join(sorted(limits))}" if limits else named


def name_of(kind):
    """Return the kind of a processor as a part of the name of a file."""
    return re.sub("[^a-z0-9]+", "-", kind.lower())


def _processor():
    """Return the processor's name and kind, and those of its instructions that decide how fast it multiplies."""
    known = _cpuinfo()
    if "model name" not in known:
        return platform.processor() or "unknown processor"
    flags = [flag for flag in INSTRUCTIONS if flag in known.get("flags", "").split()]
    shown = ", ".join(flags) or "neither AVX2 nor AVX-512"
    numbers = f"family {known.get('cpu family')}, model {known.get('model')}: {shown}"
    limits = "".join(f", {name}={os.environ[name]}" for name in LIMITS if name in os.environ)
    return f"{known['model name']} ({numbers}{limits})"


def _cpuinfo():
    """Return what Linux lists of the first processor."""
    listed = Path("/proc/cpuinfo")
    first = listed.read_text().split("\n\n")[0].splitlines() if listed.exists() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first)}
