"""A hub whose host cannot be resolved: said at once, and what is on this machine is still found."""

import json
import time

import pytest

from beit.catalog import nearest_published
from beit.errors import CheckpointError
from tests.fake_hub import FakeHub
from tests.hub.conftest import PRELUDE

LOST = "http://hub.invalid"  # a name that never resolves (RFC 2606)
SAID = "is not on this machine, and the host hub.invalid cannot be resolved; check the network, pass a local folder"


@pytest.fixture
def ask(tmp_path):
    """Run a scenario in another process, with the seconds that it took; by default there is no way to the hub."""

    def run(hub, code, **variables):
        start = time.monotonic()
        process = hub.python(f"{PRELUDE}\n{code}\nprint(json.dumps(answers))", tmp_path / "home", **variables)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert errors == "", "the client repeats nothing"
        return json.loads(output), time.monotonic() - start

    return run


@pytest.mark.e2e
def test_what_is_cached_is_found_and_the_rest_refused_at_once(ask, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("the config")
    with FakeHub() as hub:
        hub.add("owner/model", tmp_path / "model")
        ask(hub, "get('config')")
        code = (
            "get('config'); get('other', repo_id='owner/other'); get('absent', 'weights.bin');"
            "get('forced', force_download=True);"
            "attempt('pushed', hub.push_folder, pathlib.Path('.'), 'owner/model')"
        )
        answers, seconds = ask(hub, code, HF_ENDPOINT=LOST)
        assert seconds < 20, "25 s and more of repetitions"
        assert answers["config"] == "the config"
        assert answers["absent"] is None, "as offline: other files of this revision are here"
        for name in ("other", "forced", "pushed"):
            kind, message, _ = answers[name]
            assert kind == "UnavailableError"
            assert SAID in message
            assert "HF_HUB_OFFLINE" in message
            assert "HF_ENDPOINT" in message
            assert "\n" not in message
        offline, _ = ask(hub, "get('other', repo_id='owner/other')", HF_ENDPOINT=LOST, HF_HUB_OFFLINE="1")
        assert "the network is off (HF_HUB_OFFLINE or local_files_only)" in offline["other"][1]


@pytest.mark.e2e
def test_data_sets_too(ask):
    code = (
        "from beit.hub.dataset import HubDataset, list_dataset\n"
        "attempt('listed', list_dataset, 'owner/cats', None)\n"
        "attempt('file', HubDataset('owner/cats', 'a' * 40).file, 'a.parquet')\n"
    )
    with FakeHub() as hub:
        answers, _ = ask(hub, code, HF_ENDPOINT=LOST)
    for kind, message, _ in answers.values():
        assert kind == "DataError"
        assert f"'datasets/owner/cats' {SAID}" in message


def test_a_proxy_finds_the_host_itself(monkeypatch):
    from beit.hub import network

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", LOST)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(network, "getproxies", dict)
    assert network.lost_hub() == "hub.invalid"
    with pytest.raises(CheckpointError, match="'me/model' is not on this machine"):
        network.need_hub("me/model")
    monkeypatch.setattr(network, "getproxies", lambda: {"http": "http://proxy:3128"})
    assert network.lost_hub() is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("microsoft/beit-base-patch16-244", "microsoft/beit-base-patch16-224"),
        ("beit-base-patch16-224-pt22", "beit-base-patch16-224-pt22k"),
        ("beit_base_patch16_224_pt22.pth", "beit_base_patch16_224_pt22k.pth"),
        ("beit/nano-cifar", "beit/nano-cifar10"),
        ("openai/DALLE", "openai/DALL-E"),
    ],
)
def test_the_nearest_published_name(name, near):
    assert nearest_published(name) == f"; did you mean {near}?"
    assert nearest_published(near) == nearest_published("me/my-model") == ""


def test_a_misspelt_model_is_answered_with_it(monkeypatch):
    from beit import BeitModel
    from beit.hub import network

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", LOST)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(network, "getproxies", dict)
    with pytest.raises(CheckpointError, match=r"HF_HUB_OFFLINE=1; did you mean microsoft/beit-base-patch16-224\?"):
        BeitModel.from_pretrained("microsoft/beit-base-patch16-244")
