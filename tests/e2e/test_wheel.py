"""The wheel alone, in an environment that knows nothing of this checkout: what it holds, runs and says of its types."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from beit.settings.packaged import recipes
from tests.conftest import GOLDEN
from tests.e2e.small import FINETUNE

ROOT = Path(__file__).parents[2]
PICTURE = GOLDEN / "processor" / "images" / "rgba.png"
TYPED = Path(__file__).parent / "typed_user.py"
MOST_MB = 20.0  # of the wheel and the sdist: the models, and what runs one in a browser, are most of it
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def run(command, cwd, **environment):
    """Run a command without the checkout on its path."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    limits = {"OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=cwd, env={**own, **limits}, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist with the wheel that is made of it, and both made of the checkout."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    for command in (
        ["build", "--no-isolation", "--outdir", str(first)],
        ["hatchling", "build", "-d", str(second)],
    ):
        done = run([sys.executable, "-m", *command], ROOT, SOURCE_DATE_EPOCH="1700000000")
        assert done.returncode == 0, done.stderr
    return first, second


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """An environment with the wheel, and with the libraries of this one but not its beit."""
    place = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "env")], check=True, timeout=120)
    python = place / "env" / "bin" / "python"
    (wheel,) = built[0].glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    done = run([*pip, str(wheel)], place)
    assert done.returncode == 0, done.stderr
    (packages,) = (place / "env" / "lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")  # whose own .pth are not followed
    return place


@pytest.fixture(scope="module")
def trained(installed):
    """A model that the wheel has trained, with its report."""
    done = beit(installed, "finetune", *FINETUNE, "--train.max_steps=8", "--run.output=trained")
    assert done.returncode == 0, done.stderr
    assert "Confusion matrix" in (installed / "trained/report.html").read_text(encoding="utf-8")
    return "trained/model"


def beit(installed, *arguments):
    return run([str(installed / "env" / "bin" / "beit"), *arguments], installed)


def test_two_builds_have_the_same_bytes(built):
    names = [sorted(path.name for path in folder.iterdir()) for folder in built]
    assert names[0] == names[1]
    assert len(names[0]) == 2
    for name in names[0]:
        assert (built[0] / name).read_bytes() == (built[1] / name).read_bytes(), name
        assert (built[0] / name).stat().st_size < MOST_MB * 1e6


def test_the_guide_states_the_sizes(built):
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    stated = re.search(r"wheel of ([\d.]+) MB", page)
    (wheel,) = built[0].glob("*.whl")
    assert abs(wheel.stat().st_size / 1e6 - float(stated[1])) < 0.1


def test_the_wheel_holds_what_a_user_needs_and_no_more(built):
    (wheel,) = built[0].glob("*.whl")
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"beit/py.typed", "beit/recipes/classes/ade20k.txt", "beit/inference/page/static/index.html"} <= {*names}
    assert {name.split("/")[0] for name in names} == {"beit", "beit-0.1.0.dist-info"}
    source = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src/beit").rglob("*.py")}
    assert source - {*names} == set()
    assert not [name for name in names if "__pycache__" in name or "tests" in name]


def test_the_package_is_that_of_the_wheel(installed):
    code = "import beit; print(beit.__file__)"
    done = run([str(installed / "env" / "bin" / "python"), "-c", code], installed)
    assert Path(done.stdout.strip()).is_relative_to(installed), done.stderr


def test_recipes_by_name(installed):
    done = beit(installed, "recipes", "--plain")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [recipe.name for recipe in recipes()]
    done = beit(installed, "finetune", "linear_probe", "--data.path=pictures", "--print_config")
    assert "output: runs/linear_probe" in done.stdout, done.stderr


def test_predictions_of_a_model_that_it_trained_and_of_the_package(installed, trained):
    done = beit(installed, "predict", trained, str(PICTURE), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"][0]["label"] in map(str, range(10))
    done = beit(installed, "predict", str(PICTURE), "--json")
    assert done.returncode == 0, done.stderr
    assert "no model is named" in done.stderr
    assert json.loads(done.stdout)["picture"] == str(PICTURE)


def test_the_service_answers(installed, trained):
    command = [str(installed / "env" / "bin" / "beit"), "serve", trained, "--port=0"]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(command, cwd=installed, env=own, stdout=subprocess.PIPE, text=True) as service:
        address = service.stdout.readline().split()[-1]
        with httpx.Client(base_url=address, timeout=60) as client:
            assert client.get("/healthz").json()["status"] == "ok"
            assert "<html" in client.get("/").text
        service.terminate()
        assert service.wait(60) == 0


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_users_checker_knows_the_types(installed, checker):
    python = str(installed / "env" / "bin" / "python")
    (installed / "user.py").write_text(TYPED.read_text(encoding="utf-8"))
    settings = "[mypy]\n[mypy-torch.*,numpy.*,PIL.*]\nfollow_imports = skip\n"  # whose types are theirs
    (installed / "mypy.ini").write_text(settings)
    commands = {
        "mypy": ["mypy", "--python-executable", python, "--config-file", "mypy.ini", "user.py"],
        "pyright": ["pyright", "--pythonpath", python, "user.py"],
    }
    done = run([sys.executable, "-m", *commands[checker]], installed)
    lines = TYPED.read_text(encoding="utf-8").splitlines()
    wrong = range(lines.index("# refused") + 2, len(lines) + 1)
    found = {int(number) for number in re.findall(r"user\.py:(\d+):.*error", done.stdout)}
    assert found == set(wrong), done.stdout
