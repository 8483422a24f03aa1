"""Files of the hub, through the real client library against a stand-in of the hub on this machine."""

import shutil
import subprocess
import sys

import pytest

from beit.errors import CheckpointError
from beit.hub.repository import HubOptions, hub_file, is_hub_name

pytestmark = pytest.mark.e2e

RIGHT = "hf_right"  # the token that opens what is private


def test_importing_the_module_does_not_load_the_client():
    code = "import sys, beit.hub.repository; print({'huggingface_hub', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


class TestDownload:
    def test_is_kept_and_not_fetched_twice(self, hub, model, ask):
        hub.add("owner/model", model)
        code = "get('config'); get('below', subfolder='sub'); get('missing', 'nothing.json')"
        expected = {"config": "the config", "below": "the config below", "missing": None}
        assert ask(code) == expected
        assert len(hub.gets()) == 2
        assert ask(code) == expected
        assert len(hub.gets()) == 2
        forced = ask("get('config', force_download=True)")
        assert forced == {"config": "the config"}
        assert len(hub.gets("config.json")) == 3

    def test_what_lies_beside_a_model_is_found_wherever_the_model_is(self, hub, model, ask):
        hub.add("owner/model", model)
        places = {"folder": str(model), "file": str(model / "model.safetensors"), "hub": "owner/model"}
        code = f"""
def beside(name, place, filename="config.json", **options):
    attempt(name, lambda: as_text(hub.file_beside(place, filename, hub.HubOptions(**options))))

for name, place in {places}.items():
    beside(name, place)
    beside(name + " without", place, "nothing.json")
beside("below", {str(model)!r}, subfolder="sub")
beside("no name", "a/b/c")
"""
        answers = ask(code)
        assert [answers.pop(name) for name in places] == ["the config"] * 3
        assert answers.pop("below") == "the config below"
        assert answers == {**dict.fromkeys([f"{name} without" for name in places]), "no name": None}

    def test_uses_a_cache_of_its_own_when_asked(self, hub, model, ask, tmp_path):
        hub.add("owner/model", model)
        ask(f"get('config', cache_dir={str(tmp_path / 'elsewhere')!r})")
        assert list((tmp_path / "elsewhere").glob("models--owner--model/snapshots/*/config.json"))
        assert not (tmp_path / "home" / "hub").exists()

    def test_serves_names_without_owner(self, hub, model, ask):
        hub.add("plain", model)
        assert ask("get('config', repo_id='plain')") == {"config": "the config"}

    def test_revisions(self, hub, model, ask, tmp_path):
        later = shutil.copytree(model, tmp_path / "later")
        (later / "config.json").write_text("a later config")
        first = hub.add("owner/model", model)
        hub.add("owner/model", later, revision="later/try")
        answers = ask(
            f"get('commit', revision={first!r}); get('missing', revision='nowhere');get('branch', revision='later/try')"
        )
        assert answers["commit"] == "the config"
        assert answers["branch"] == "a later config"
        kind, message, cause = answers["missing"]
        assert (kind, cause) == ("UnavailableError", "RevisionNotFoundError")
        assert "has no revision 'nowhere'" in message

    def test_a_branch_that_moves_on_is_followed(self, hub, model, ask):
        hub.add("owner/model", model)
        assert ask("get('config')") == {"config": "the config"}
        (model / "config.json").write_text("a later config")
        hub.add("owner/model", model)
        assert ask("get('config'); get('offline', local_files_only=True)") == {
            "config": "a later config",
            "offline": "a later config",
        }


class TestAccess:
    def test_private_repositories_need_their_token(self, hub, model, ask):
        hub.add("owner/model", model, token=RIGHT)
        answers = ask(
            "get('none', token=False); get('wrong', token='hf_wrong'); get('unsaved', token=True);"
            "get('right', token='hf_right')"
        )
        assert answers["right"] == "the config"
        for name, cause in (("none", "RepositoryNotFoundError"), ("wrong", "RepositoryNotFoundError")):
            assert answers[name][::2] == ["UnavailableError", cause]
            assert "'owner/model' does not exist" in answers[name][1]
            assert "hf auth login" in answers[name][1]
        assert answers["unsaved"][2] == "LocalTokenNotFoundError"
        assert "no login is saved" in answers["unsaved"][1]

    def test_the_saved_login_is_used(self, hub, model, ask):
        hub.add("owner/model", model, token=RIGHT)
        assert ask("get('right')", HF_TOKEN=RIGHT) == {"right": "the config"}

    def test_unknown_repositories(self, hub, ask):
        kind, message, cause = ask("get('config', repo_id='nobody/nothing')")["config"]
        assert (kind, cause) == ("UnavailableError", "RepositoryNotFoundError")
        assert "'nobody/nothing' does not exist" in message

    def test_gated_repositories(self, hub, model, ask):
        hub.add("owner/model", model, gated=True)
        kind, message, cause = ask("get('config', token='hf_mine')")["config"]
        assert (kind, cause) == ("UnavailableError", "GatedRepoError")
        assert f"accept its terms at {hub.url}/owner/model" in message

    @pytest.mark.parametrize("name", ["a/b/c", "with space", "-start", "two..dots", ""])
    def test_bad_names(self, name):
        with pytest.raises(CheckpointError, match="neither a folder nor a name on the hub") as caught:
            hub_file(name, "config.json", HubOptions())
        assert type(caught.value.__cause__).__name__ == "HFValidationError"

    def test_files_outside_the_repository_are_refused(self, hub, model, ask):
        hub.add("owner/model", model)
        answers = ask("get('above', '../../config.json'); get('below', 'config.json', subfolder='..')")
        for answer in answers.values():  # old clients ask the hub, which has no such file
            assert answer is None or "; check the name" in answer[1]

    def test_a_hub_that_is_down(self, hub, model, ask):
        hub.add("owner/model", model)
        hub.down = 503
        kind, message, _ = ask("get('config')")["config"]
        assert kind == "UnavailableError"
        assert "503" in message
        assert "run again" in message


class TestOffline:
    @pytest.mark.parametrize("variables", [{"HF_HUB_OFFLINE": "1"}, {}])
    def test_reads_the_cache_and_asks_nobody(self, hub, model, ask, variables):
        hub.add("owner/model", model)
        ask("get('config')")
        asked = len(hub.requests)
        answers = ask(
            f"local = {not variables}; get('config', local_files_only=local);"
            "get('other', 'model.safetensors', local_files_only=local);"
            "get('stranger', repo_id='owner/stranger', local_files_only=local);"
            "get('revision', revision='v2', local_files_only=local);"
            "get('forced', local_files_only=local, force_download=True)",
            **variables,
        )
        assert answers["config"] == "the config"
        assert answers["other"] is None
        for name in ("stranger", "revision"):
            assert answers[name][::2] == ["UnavailableError", "LocalEntryNotFoundError"]
            assert "is not in the local cache and the network is off" in answers[name][1]
        assert "at revision 'v2'" in answers["revision"][1]
        assert "force_download=True" in answers["forced"][1]
        assert len(hub.requests) == asked

    def test_an_unfinished_download_does_not_count_as_a_snapshot(self, hub, model, ask):
        hub.add("owner/model", model)
        hub.cut("owner/model", "model.safetensors", 1000, times=9, reset=True)
        ask("get('weights', 'model.safetensors')")
        answers = ask("get('config', local_files_only=True)")
        assert "is not in the local cache" in answers["config"][1]

    def test_remembers_that_a_file_is_absent_when_the_hub_is_gone(self, hub, model, ask):
        hub.add("owner/model", model)
        ask("get('missing', 'nothing.json')")
        gone = {"HF_ENDPOINT": "http://127.0.0.1:9"}
        answers = ask("get('missing', 'nothing.json'); get('config')", **gone)
        assert answers["missing"] is None
        kind, message, _ = answers["config"]
        assert kind == "UnavailableError"
        assert "the connection to http://127.0.0.1:9 failed" in message


class TestCutConnections:
    def test_a_silent_end_is_continued(self, hub, model, ask):
        hub.add("owner/model", model)
        hub.cut("owner/model", "model.safetensors", 300_000)
        answers = ask(
            "import huggingface_hub.constants as constants\n"
            "constants.DOWNLOAD_CHUNK_SIZE = 100_000\n"  # 10 MB otherwise, and what is less than that is lost
            "def weights():\n"
            "    path = hub.hub_file('owner/model', 'model.safetensors', hub.HubOptions())\n"
            "    return path.read_bytes() == bytes(range(256)) * 4000\n"
            # New clients continue within the call and keep no beginnings; old ones continue in the next call.
            "attempt('whole', weights)\n"
            "if answers['whole'] is not True:\n"
            "    answers['failed'] = answers['whole']\n"
            "    attempt('whole', weights)\n"
        )
        assert answers["whole"] is True
        assert "run again to continue" in answers.get("failed", ["", "run again to continue"])[1]
        assert hub.gets() == [None, "bytes=300000-"]

    def test_a_dead_line_is_an_error_and_the_next_call_succeeds(self, hub, model, ask):
        hub.add("owner/model", model)
        # Old clients continue after a reset, too; they give up when nothing more arrives.
        hub.cut("owner/model", "model.safetensors", 300_000, reset=True)
        hub.cut("owner/model", "model.safetensors", 0, times=8, reset=True)
        first = ask(
            "attempt('broken', lambda: str(hub.hub_file('owner/model', 'model.safetensors', hub.HubOptions())));"
            "get('config')"
        )
        kind, message, cause = first["broken"]
        assert kind == "UnavailableError"
        assert "failed or was cut" in message
        assert "run again to continue" in message
        assert cause != "NoneType"
        assert first["config"] == "the config"
        hub.mend()
        again = ask(
            "p = hub.hub_file('owner/model', 'model.safetensors', hub.HubOptions());"
            "answers['whole'] = p.read_bytes() == bytes(range(256)) * 4000"
        )
        assert again == {"whole": True}

    def test_a_full_disk_is_distinguished_from_the_network(self, hub, model, ask):
        hub.add("owner/model", model)
        answers = ask(
            "import resource\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"  # what a full disk does to a large file
            "get('weights', 'model.safetensors'); get('config')"
        )
        kind, message, cause = answers["weights"]
        assert (kind, cause) == ("StorageError", "OSError")
        assert "File too large; free space" in message
        assert answers["config"] == "the config"


class TestHubNames:
    @pytest.mark.parametrize("name", ["owner/model", "model", "microsoft/beit-base-patch16-224", "a_b/c.d"])
    def test_names(self, name):
        assert is_hub_name(name)

    @pytest.mark.parametrize(
        "name", ["/absolute/path", "./here", "a/b/c", "owner/", "C:\\model", "two words", "", "~/x"]
    )
    def test_no_names(self, name):
        assert not is_hub_name(name)

    def test_what_exists_here_is_a_path(self, tmp_path, monkeypatch):
        (tmp_path / "owner" / "model").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert not is_hub_name("owner/model")
        assert not is_hub_name("owner")
        assert is_hub_name("owner/other")
