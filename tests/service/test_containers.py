"""Files of the container, checked without one: what is copied and mounted exists, the board shows what is exported."""

import json
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from beit.cli.parser import parse_job
from beit.settings.serve import ServeJob
from tests.conftest import GOLDEN
from tests.service.asking import ask, fake_app, talk
from tests.service.test_server import running

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "containers"
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in (PLACE / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
# What the extra `train` brings, which the container has not; jsonargparse and pydantic are of `serve` too.
TRAIN_ALONE = [
    "accelerate", "datasets", "jinja2", "matplotlib", "rich", "shtab", "sklearn", "tensorboard", "torchmetrics",
]  # fmt: skip


def arguments_of(name):
    return [rest for word, rest in INSTRUCTIONS if word == name]


def test_what_is_copied_exists_and_reaches_the_builder():
    shown = (PLACE / "Dockerfile.dockerignore").read_text().splitlines()
    sources = [name for copy in arguments_of("COPY") if "--from" not in copy for name in shlex.split(copy)[:-1]]
    assert "src/beit" in sources
    for name in sources:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in shown, name
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = built["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert {*needed, built["project"]["readme"], *built["project"]["license-files"]} <= {*sources}


def test_it_is_not_root_and_says_whether_it_is_ready():
    assert arguments_of("USER") == ["10001"]
    assert any("--uid 10001" in line for line in arguments_of("RUN"))
    assert arguments_of("ARG") == ["TORCH_INDEX=https://download.pytorch.org/whl/cpu"]
    (check,) = arguments_of("HEALTHCHECK")
    assert "/readyz" in check
    compile(json.loads(check[check.index("[") :])[2], "healthcheck", "exec")
    (entry,) = map(json.loads, arguments_of("ENTRYPOINT"))
    command = yaml.safe_load((PLACE / "compose.yaml").read_text())["services"]["beit"]["command"]
    job = parse_job(ServeJob, "beit serve", "", [*entry[2:], *command], ("models",))
    assert (job.host, job.port, job.models, job.allowed_hosts) == ("0.0.0.0", 8000, ("served=/model",), ("beit",))  # noqa: S104


def test_what_is_installed_is_of_tested_versions():
    installs = [line for line in arguments_of("RUN") if "pip install" in line]
    assert len(installs) == 2
    assert all("-c /tmp/constraints.txt" in line for line in installs)
    assert "constraints.txt /tmp/constraints.txt" in arguments_of("COPY")


def test_what_compose_mounts_exists():
    composed = yaml.safe_load((PLACE / "compose.yaml").read_text())
    for name, service in composed["services"].items():
        for volume in service.get("volumes", []):
            source = volume.rsplit(":", 2)[0] if volume.endswith(":ro") else volume.partition(":")[0]
            assert source.startswith("${") or source in composed["volumes"] or (PLACE / source).exists(), (name, source)
    service = composed["services"]["beit"]
    assert (PLACE / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["read_only"]
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108
    reports = {name: value for name, value in composed["services"]["grafana"]["environment"].items() if "ANALY" in name}
    assert set(reports.values()) == {"false"}, reports
    for published in (service["ports"], composed["services"]["grafana"]["ports"]):
        assert all(port.startswith("127.0.0.1:") for port in published)
    (job,) = yaml.safe_load((PLACE / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["beit:8000"]}]


def test_the_board_shows_what_the_service_exports():
    app, _ = fake_app()
    ask(app, "classify")
    text = talk(app, lambda client: client.get("/metrics")).text
    exported = set(re.findall(r"^(\w+)(?:\{| )", text, flags=re.MULTILINE))
    board = json.loads((PLACE / "grafana/dashboards/beit.json").read_text())
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    names = set(re.findall(r"\b(?:beit|process)_\w+", asked))
    assert len(names) > 6
    assert names <= exported
    source = yaml.safe_load((PLACE / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
    labels = {label for group in re.findall(r"by \(([\w, ]+)\)", asked) for label in group.split(", ")}
    assert all(f"{label}=" in text for label in labels)


@pytest.mark.e2e
def test_the_service_runs_with_its_own_extra_alone(tmp_path):
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({TRAIN_ALONE}))\n"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    model = GOLDEN.parent.parent / "src/beit/included/nano-cifar10-classifier"
    search = os.pathsep.join([str(tmp_path), str(ROOT / "src"), *sys.path])
    with running("beit", "serve", str(model), "--port=0", PYTHONPATH=search) as service:
        assert service.classify().status_code == 200
        assert service.metric("beit_batch_size_sum") == 1
