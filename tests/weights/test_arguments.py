"""Location of a checkpoint by name, on this machine and in the cache of the hub, and checks of arguments."""

import pytest

from beit.config import BeitConfig
from beit.errors import CheckpointError, ConfigError
from beit.hub import HubOptions, repository
from beit.weights import PublishedArguments, check_arguments
from beit.weights import arguments as module
from beit.weights.arguments import WEIGHT_FILES, Located, locate

NO_NETWORK = HubOptions(local_files_only=True)


@pytest.fixture
def folder(tmp_path):
    """A model folder with the files of two libraries."""
    for name in ("pytorch_model.bin", "model.safetensors", "config.json"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_in_order_of_preference(folder):
    expected = Located(str(folder), folder / "model.safetensors", folder / "config.json")
    assert locate(folder, NO_NETWORK) == locate(str(folder), NO_NETWORK) == expected
    assert locate(folder / "config.json", NO_NETWORK) == expected
    assert locate(folder, NO_NETWORK, files=("pytorch_model.bin",)).weights == folder / "pytorch_model.bin"
    assert locate(folder / "config.json", NO_NETWORK, files=("pytorch_model.bin",)).weights.suffix == ".bin"
    assert locate(folder.parent, HubOptions(subfolder=folder.name)).weights == folder / "model.safetensors"


def test_a_file_and_the_config_beside_it(folder):
    path = folder / "pytorch_model.bin"
    assert locate(path, NO_NETWORK) == Located(str(path), path, folder / "config.json")
    (folder / "config.json").unlink()
    assert locate(path, NO_NETWORK) == Located(str(path), path, None)
    assert locate(folder, NO_NETWORK).config is None


def test_siblings_in_a_folder(folder):
    located = locate(folder, NO_NETWORK)
    assert located.sibling("pytorch_model.bin") == folder / "pytorch_model.bin"
    with pytest.raises(CheckpointError, match=r"has no file 'shard.bin', which its index names; fetch it again"):
        located.sibling("shard.bin")


@pytest.mark.parametrize("name", ["nothing here", "a/b/c", "folder/file.pth", "model.safetensors"])
def test_names_of_nothing(name):
    with pytest.raises(CheckpointError, match=f"{name} does not exist; expected a model folder, a file of weights"):
        locate(name, NO_NETWORK)


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(CheckpointError, match=r"does not hold weights; expected one of \['model.safetensors'"):
        locate(tmp_path, NO_NETWORK)
    (tmp_path / "last.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r": name the file, such as .*last\.ckpt$"):
        locate(tmp_path, NO_NETWORK)


def test_a_run_in_the_place_of_its_model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=rf"is a run, .*; name {tmp_path}/model$"):
        locate(tmp_path, NO_NETWORK)


def test_a_name_that_is_nearly_a_folder_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/classes").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"; did you mean runs/classes\?$"):
        locate("runs/clases", NO_NETWORK)


@pytest.fixture
def hub(folder, monkeypatch):
    """Repositories whose files are those of `folder`; what was asked for is recorded."""
    asked = []

    def hub_file(repository, name, options):
        asked.append((repository, name, options))
        return folder / name if (folder / name).is_file() else None

    for place in (module, repository):
        monkeypatch.setattr(place, "hub_file", hub_file)
    monkeypatch.setattr(module, "fetch_url", lambda url, options: folder / url.rsplit("/", 1)[1])
    return asked


def test_a_repository(folder, hub):
    located = locate("owner/name", NO_NETWORK)
    config, weights = folder / "config.json", folder / "model.safetensors"
    assert located == Located("owner/name", weights, config, None, NO_NETWORK, "owner/name")
    assert set(hub) == {("owner/name", name, NO_NETWORK) for name in ("config.json", "model.safetensors")}
    assert located.sibling("pytorch_model.bin") == folder / "pytorch_model.bin"
    with pytest.raises(CheckpointError, match=r"owner/name has no file 'shard.bin'"):
        located.sibling("shard.bin")
    for name in WEIGHT_FILES:
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=r"the hub repository owner/name holds no weights; expected one of \['mo"):
        locate("owner/name", NO_NETWORK)


def test_published_checkpoints(folder, hub):
    on_hub = locate("beit-base-patch16-224", NO_NETWORK)
    assert on_hub.source == on_hub.repository == "microsoft/beit-base-patch16-224"
    assert on_hub.public is not None
    assert on_hub.public.hub == on_hub.repository
    name = "beitv2_base_patch16_224_pt1k"
    elsewhere = locate(name, NO_NETWORK)
    assert elsewhere.weights == folder / f"{name}.pth"
    assert (elsewhere.source, elsewhere.config, elsewhere.repository) == (name, None, "")
    assert elsewhere.public is not None
    assert elsewhere.public.original == name


def test_options_of_the_config_are_known():
    """None of them raises."""
    known = {"image_size": 384, "num_labels": 3, "out_indices_meaning": "original"}
    assert check_arguments(BeitConfig, known, False, "cubic") is None
    assert check_arguments(BeitConfig, {}, True, "cubic") is None


@pytest.mark.parametrize(
    ("overrides", "given", "message"),
    [
        ({"imagesize": 384}, False, r"there is no option 'imagesize'; did you mean image_size\?"),
        ({"qqqqqqqq": 1}, False, "there is no option 'qqqqqqqq'$"),
        ({"image_size": 1, "a": 2}, True, r"config was given and \['a', 'image_size'\] beside it"),
    ],
)
def test_what_is_misspelt_or_given_twice(overrides, given, message):
    with pytest.raises(ConfigError, match=message):
        check_arguments(BeitConfig, overrides, given, "cubic")


def test_arguments_are_taken_out_of_what_was_given():
    given = {"torch_dtype": "float16", "device_map": "cpu", "trust_remote_code": True, "variant": "a", "num_labels": 3}
    assert PublishedArguments.taken_from(given) == PublishedArguments(
        torch_dtype="float16", device_map="cpu", variant="a"
    )
    assert given == {"num_labels": 3}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"from_tf": True}, "from_tf was given"),
        ({"quantization_config": {"bits": 4}}, "quantization_config was given"),
    ],
)
def test_what_is_not_done_here(given, message):
    with pytest.raises(ConfigError, match=message):
        PublishedArguments.taken_from(given)


@pytest.mark.parametrize(
    ("device_map", "max_memory", "device", "divided"),
    [
        (None, None, None, False), ("cuda:1", None, "cuda:1", False), ({"": 0}, None, 0, False),
        ({"beit": "cpu", "classifier": "cpu"}, None, "cpu", False), ({"a": 0, "b": "cpu"}, None, "cpu", True),
        ({"": "disk"}, None, "cpu", True), ("auto", {"cpu": "1GB"}, "cpu", True), (None, {"cpu": "1GB"}, None, False),
        ("balanced", None, "cpu", True), ("sequential", None, "cpu", True),
    ],
)  # fmt: skip
def test_places_of_the_parts(device_map, max_memory, device, divided):
    asked = PublishedArguments(device_map=device_map, max_memory=max_memory)
    assert (asked.device, asked.is_divided) == (device, divided)


def test_files_that_may_be_read():
    everything = PublishedArguments().weight_files
    safe = PublishedArguments(use_safetensors=True).weight_files
    others = PublishedArguments(use_safetensors=False).weight_files
    assert safe == ("model.safetensors", "model.safetensors.index.json")
    assert others[0] == "pytorch_model.bin"
    assert everything == safe + others
    assert PublishedArguments(variant="fp16", use_safetensors=True).weight_files == (
        "model.fp16.safetensors",
        "model.safetensors.index.fp16.json",
    )
    assert PublishedArguments(from_flax=True).weight_files == ("flax_model.msgpack",)
    assert PublishedArguments(from_flax=True, variant="a").weight_files == ("flax_model.a.msgpack",)
