"""`beit doctor`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version

from beit import __version__
from beit.cli.parser import parse_job
from beit.settings.inspection import DoctorJob

DESCRIPTION = (
    "Show what this machine and installation have: versions, extras, processor, threads, GPU, the way to the hub, the "
    "speed of a matrix product in each precision, and where the times are kept by which the models choose the fastest "
    "way of each computation (--ways lists them)."
)
_CORE = ("torch", "numpy", "Pillow", "safetensors", "huggingface_hub")
_EXTRAS = ("train", "flax", "serve", "export", "ray", "remote", "video", "heic", "dicom", "tiff")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")


def run(arguments: Sequence[str]) -> int:
    """Parse, print the sections."""
    job = parse_job(DoctorJob, "beit doctor", DESCRIPTION, arguments)
    _section("versions", _versions())
    _section("extras", [(name, _missing(name) or "complete") for name in _EXTRAS])
    _section("machine", _machine())
    _section("hub", _hub())
    if job.time:
        _section("matrix products", _products())
    _section("fastest ways", _timed(job.ways))
    return 0


def _section(title: str, rows: Sequence[tuple[str, str]]) -> None:
    width = max((len(name) for name, _ in rows), default=0)
    print(title, *(f"  {name:<{width}}  {value}" for name, value in rows), sep="\n", end="\n\n")


def _versions() -> list[tuple[str, str]]:
    installed = [(name, version(name)) for name in _CORE]
    return [("beit", __version__), ("python", platform.python_version()), *installed]


def _missing(extra: str) -> str:
    """Return the libraries of an extra that are not installed, and the command that installs them; "" for none."""
    from packaging.requirements import Requirement  # of huggingface_hub

    missing: list[str] = []
    try:
        wanted = requires("beit") or ()
    except PackageNotFoundError:
        return "unknown: the package is used from its source, without an installation"
    for line in wanted:
        requirement = Requirement(line)
        if requirement.marker is not None and requirement.marker.evaluate({"extra": extra}):
            try:
                version(requirement.name)
            except PackageNotFoundError:
                missing.append(requirement.name)
    return f"without {', '.join(missing)}: pip install -e '.[{extra}]' in the checkout" if missing else ""


def _machine() -> list[tuple[str, str]]:
    import torch

    from beit.models_torch.kernels.fastest import processor

    lines: dict[str, str] = {}
    for line in processor().splitlines():
        name, _, value = line.partition(":")
        lines[name.strip()] = value.strip()
    flags = lines.get("flags", "").split()
    family = ", ".join(f"{name} {lines[name]}" for name in ("vendor_id", "cpu family", "model") if name in lines)
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [
        ("system", platform.platform()),
        ("processor", family or platform.processor() or platform.machine()),
        ("instructions", ", ".join(name for name in _INSTRUCTIONS if name in flags) or "none of those that matter"),
        ("cores", f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"),
        ("threads of torch", str(torch.get_num_threads())),
        ("waiting threads", "sleep" if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE" else "spin"),
        ("GPU", ", ".join(gpus) or "none that torch can use"),
    ]


def _hub() -> list[tuple[str, str]]:
    """Return where published models come from, and where they are kept."""
    from huggingface_hub import constants

    from beit.hub.network import lost_hub

    lost = lost_hub()
    reached = (
        "its host has an address" if lost is None else f"the host {lost} cannot be resolved; HF_ENDPOINT names a mirror"
    )
    return [
        ("address", constants.ENDPOINT),
        ("network", "off: HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else reached),
        ("cache", constants.HF_HUB_CACHE),
    ]


def _products() -> list[tuple[str, str]]:
    """Return the speed of a large product in every precision that trainings take."""
    from beit.engine.throughput import gemm_rate
    from beit.models_torch.device import DTYPES, pick_device

    device = pick_device("auto")
    wanted = ("fp32", "bf16") if device.type == "cpu" else tuple(DTYPES)
    return [(name, f"{gemm_rate(device, DTYPES[name]) / 1e9:,.0f} GFLOP/s on {device}") for name in wanted]


def _timed(listed: bool) -> list[tuple[str, str]]:
    """Return what was timed on this machine so far, if listed one by one, the fastest way first."""
    from beit.models_torch.kernels import FASTEST
    from beit.models_torch.kernels.fastest import cache_file

    rows = [
        (
            name,
            ", ".join(f"{way} {1e3 * took:.2f} ms" for way, took in sorted(seconds.items(), key=lambda pair: pair[1])),
        )
        for name, seconds in FASTEST.timed().items()
    ]
    mode = "" if FASTEST.mode == "auto" else f"; BEIT_KERNELS={FASTEST.mode} passes them over"
    kept = f"{cache_file()}{mode}" if rows else f"nothing was timed yet; it will be kept in {cache_file()}"
    shown = rows if listed or not rows else [("timed", f"{len(rows)} computations; --ways lists them")]
    return [*shown, ("kept in", kept)]
