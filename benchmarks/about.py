"""Provenance of a result: machine, date, versions and commit, written beside the numbers."""

import json
import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path


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
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
