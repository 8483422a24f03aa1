"""What many tests use: recorded references, real pictures, and tiny models."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"
REAL_DATA = Path(os.environ.get("BEIT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

TINY_MODEL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
    "vocab_size": 64,
}

# One thread as for torch, and programs that are compiled quickly rather than well: they run once or twice.
XLA_FLAGS = (
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)


def pytest_configure(config):
    os.environ["BEIT_KERNELS"] = "onednn"  # not what is fastest while other tests run, which differs
    torch.set_num_threads(1)  # xdist runs one process per core; more threads would only fight
    os.environ.setdefault("XLA_FLAGS", " ".join(XLA_FLAGS))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


TIERS = ("unit", "parity", "e2e", "docs", "interop")


def pytest_collection_modifyitems(items):
    """Put every test in one tier: the one it is marked with, that of its folder, or the unit tests."""
    for item in items:
        if not any(item.get_closest_marker(tier) for tier in TIERS):
            folder = item.path.relative_to(TESTS).parts[0].replace("habits", "parity")
            item.add_marker(folder if folder in ("parity", "e2e", "interop") else "unit")


@pytest.fixture
def golden():
    """Load a recorded case: golden("hf_v4/mim") has .folder, .case, .io."""

    def load(name):
        folder = GOLDEN / name
        return SimpleNamespace(
            folder=folder, case=json.loads((folder / "case.json").read_text()), io=dict(np.load(folder / "io.npz"))
        )

    return load


@pytest.fixture
def real_data():
    """The folder of real pictures; tests that need it are skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"needs real pictures in {REAL_DATA} (set BEIT_TEST_DATA)")
    return REAL_DATA


@pytest.fixture
def pictures(tmp_path):
    """A folder of two classes with random pictures of various sizes."""
    rng = np.random.default_rng(0)
    root = tmp_path / "pictures"
    for name, hue in (("cat", 40), ("dog", 160)):
        (root / name).mkdir(parents=True)
        for number in range(6):
            height, width = rng.integers(12, 40, size=2)
            pixels = np.clip(rng.normal(hue, 40, (height, width, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root
