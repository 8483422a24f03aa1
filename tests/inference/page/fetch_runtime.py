"""Makes the files of onnxruntime that the package brings again: `make runtime`.

The program comes from npm, as `runtime.json` pins it (version and integrity of the package); licence and notices, which
that package leaves out, from the wheel of the same version. To change the version, change it there with the integrity
that `npm view onnxruntime-web@VERSION dist.integrity` prints, and run this.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from beit.inference.page import RUNTIME

RECORD = RUNTIME / "runtime.json"


def fetch() -> None:
    """Write all files, and their sizes and hashes into `runtime.json`."""
    record = json.loads(RECORD.read_text())
    with tempfile.TemporaryDirectory() as folder:
        package = read_package(record, Path(folder))
        wheel = read_wheel(record["version"], Path(folder))
    for name, file in record["files"].items():
        content = (package if file["from"].startswith("package/") else wheel)[file["from"]]
        file.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        packed = gzip.compress(content, 9, mtime=0) if name.endswith(".gz") else content
        (RUNTIME / name).write_bytes(packed)
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


def read_package(record: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """Return the files of the package of npm."""
    name = f"{record['package']}@{record['version']}"
    packed = subprocess.run(["npm", "pack", name, "--json"], cwd=folder, check=True, capture_output=True, text=True)
    archive = folder / json.loads(packed.stdout)[0]["filename"]
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != record["integrity"]:
        raise SystemExit(f"{name} is {found}; expected {record['integrity']}, as runtime.json pins it")
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers() if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def read_wheel(version: str, folder: Path) -> dict[str, bytes]:
    """Return the texts of the wheel of onnxruntime."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, f"onnxruntime=={version}"], check=True)
    with ZipFile(next(folder.glob("*.whl"))) as wheel:
        return {name: wheel.read(name) for name in ("onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt")}


if __name__ == "__main__":
    fetch()
