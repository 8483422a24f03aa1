"""What is given beside the name of a checkpoint."""

import pytest

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.weights import PublishedArguments, check_overrides


def test_options_of_the_config_are_known():
    """None of them raises."""
    known = {"image_size": 384, "num_labels": 3, "out_indices_meaning": "original"}
    assert check_overrides(BeitConfig, known, False) is None
    assert check_overrides(BeitConfig, {}, True) is None


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
        check_overrides(BeitConfig, overrides, given)


def test_arguments_are_taken_out_of_what_was_given():
    given = {"torch_dtype": "float16", "device_map": "cpu", "trust_remote_code": True, "variant": None, "num_labels": 3}
    assert PublishedArguments.taken_from(given) == PublishedArguments(torch_dtype="float16", device_map="cpu")
    assert given == {"num_labels": 3}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variant": "fp16"}, "variant was given; it is not supported"),
        ({"from_tf": True}, "from_tf was given"),
        ({"device_map": {"": 0}}, "device_map is a mapping; expected one device"),
    ],
)
def test_what_is_not_done_here(given, message):
    with pytest.raises(ConfigError, match=message):
        PublishedArguments.taken_from(given)


def test_files_that_may_be_read():
    everything = PublishedArguments().weight_files
    safe = PublishedArguments(use_safetensors=True).weight_files
    others = PublishedArguments(use_safetensors=False).weight_files
    assert safe == ("model.safetensors", "model.safetensors.index.json")
    assert others[0] == "pytorch_model.bin"
    assert everything == safe + others
    assert PublishedArguments(from_flax=True).weight_files == ("flax_model.msgpack",)
