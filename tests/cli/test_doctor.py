"""`beit doctor`."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from beit.cli import doctor
from beit.cli.main import main
from beit.cli.process import WAITING
from beit.files import write_json
from beit.models_torch.kernels import fastest


@pytest.fixture
def shown(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def show(*arguments):
        assert main(["doctor", *arguments]) == 0
        return capsys.readouterr().out

    return show


def test_versions_extras_and_machine_are_shown(shown):
    text = shown("--time=false")
    assert re.search(rf"torch +{re.escape(torch.__version__)}", text)
    assert re.search(r"train +complete", text)
    assert re.search(r"threads of torch +1\b", text)
    assert "GFLOP/s" not in text
    assert "nothing was timed yet" in text


@pytest.mark.e2e
@pytest.mark.parametrize(("offline", "host", "said"), [
    (True, None, "off: HF_HUB_OFFLINE is set"),
    (False, None, "its host has an address"),
    (False, "hub.test", "the host hub.test cannot be resolved; HF_ENDPOINT names a mirror"),
])  # fmt: skip
def test_the_way_to_the_hub(shown, monkeypatch, offline, host, said):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("beit.hub.network.lost_hub", lambda: host)
    assert re.search(rf"network +{said}\n", shown("--time=false"))


@pytest.mark.e2e
def test_waiting_threads_sleep_unless_asked_otherwise(tmp_path):
    """OpenMP reads it once, when torch is loaded: in a process of its own."""
    for given, expected in (({}, "sleep"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "spin")):
        command = [sys.executable, "-m", "beit", "doctor", "--time=false"]
        kept = {name: value for name, value in os.environ.items() if name not in WAITING}
        done = subprocess.run(command, env={**kept, **given}, capture_output=True, text=True, timeout=120)
        assert re.search(rf"waiting threads +{expected}", done.stdout), done.stderr


def test_torch_is_not_loaded_before():
    code = "import sys, beit.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_products_are_timed(shown):
    rates = {name: float(rate.replace(",", "")) for name, rate in re.findall(r"(fp32|bf16) +([\d,]+) GFLOP/s", shown())}
    assert rates.keys() == {"fp32", "bf16"}
    assert min(rates.values()) > 0


def test_the_fastest_way_stands_first(shown):
    write_json(fastest.cache_file(), {"linear 8 x 8 -> 8, 1 threads": {"torch": 0.002, "onednn": 0.001}})
    listed = shown("--time=false", "--ways")
    assert re.search(r"linear 8 x 8 -> 8, 1 threads +onednn [\d.]+ ms, torch [\d.]+ ms", listed)
    assert re.search(r"timed +1 computations; --ways lists them\n", shown("--time=false"))


def test_every_extra_of_a_user_is_shown():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"].keys() - {"dev"} == {*doctor._EXTRAS}


def test_an_extra_that_is_not_complete(shown, monkeypatch):
    real = doctor.version
    monkeypatch.setattr(doctor, "requires", lambda _: ["accelerate>=1; extra == 'train'", "av>=13; extra == 'video'"])

    def version(name):
        if name == "av":
            raise doctor.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    text = shown("--time=false")
    assert "without av: pip install -e '.[video]' in the checkout" in text
    assert re.search(r"train +complete", text)
