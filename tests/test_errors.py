"""Warnings, and errors as one line; the command line shows every kind in cli/test_main.py."""

import pickle
import warnings

import numpy as np
import pytest
import torch

import beit
from beit.errors import CheckpointError, ConfigError, DataError, UnavailableError, warn

TINY = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8, "patch_size": 8}
PICTURE = np.zeros((9, 9, 3), dtype=np.uint8)
MODEL = beit.BeitModel(beit.BeitConfig(image_size=32, **TINY))
WARNINGS = {
    "an old name": lambda folder: beit.BeitFeatureExtractor(),
    "an old name in a file": lambda folder: beit.BeitFeatureExtractor.from_pretrained(folder),
    "a misspelt option": lambda folder: beit.BeitImageProcessor(do_normalise=True),
    "a misspelt option of a file": lambda folder: beit.BeitImageProcessor.from_pretrained(folder, do_normalise=True),
    "an unknown argument": lambda folder: beit.BeitImageProcessor()(PICTURE, nothing=1),
    "an unknown argument of the method": lambda folder: beit.BeitImageProcessor().preprocess(PICTURE, nothing=1),
    "a size": lambda folder: beit.BeitConfig(image_size=33, **TINY),
    "half precision": lambda folder: MODEL.half(),
    "half precision by a type": lambda folder: MODEL.to(torch.float16),
    "attention": lambda folder: beit.BeitModel.from_pretrained(folder, attn_implementation="flash_attention_2"),
    "checkpointing": lambda folder: MODEL.gradient_checkpointing_enable({"use_reentrant": True}),
}


@pytest.mark.parametrize("call", WARNINGS.values(), ids=WARNINGS)
def test_warnings_name_the_line_of_the_user(call, tmp_path):
    """Through however many functions of the package, and of torch, they come."""
    beit.BeitImageProcessor().save_pretrained(tmp_path)
    beit.BeitModel(beit.BeitConfig(image_size=32, **TINY)).save_pretrained(tmp_path)
    with pytest.warns() as caught:
        call(tmp_path)
    assert {one.filename for one in caught} == {__file__}


def test_a_warning_of_the_caller_itself():
    with pytest.warns(FutureWarning, match="later") as caught:
        warn("later", FutureWarning)
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error"), pytest.raises(UserWarning):
        warn("now")


def test_a_warning_has_a_bounded_length():
    with pytest.warns(UserWarning, match="^option x+ \\[") as caught:
        warn(f"option {'x' * 10**5} is unknown")
    assert len(str(caught[0].message)) < 4000


@pytest.mark.parametrize("kind", [CheckpointError, ConfigError, DataError, UnavailableError])
def test_a_message_is_one_line_whatever_is_quoted(kind):
    error = kind("a\n is\r\n no \x1b[31m name\n")
    assert str(error) == "a  is  no \ufffd[31m name"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  # our own


def test_a_message_has_a_bounded_length_and_keeps_both_ends():
    error = ConfigError(f"windo{'[' * 5000} is unknown; expected window")
    assert str(error).startswith("windo[[")
    assert str(error).endswith("[ is unknown; expected window")
    assert "[1,133 characters left out]" in str(error)
    assert len(str(error)) < 4000
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  # our own


def test_torchs_traceback_before_a_message_is_left_out():
    wrapped = "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  x\n"
    assert str(DataError(f"{wrapped}beit.errors.DataError: it is gone; look: there\n")) == "it is gone; look: there"


def test_a_client_does_not_read_what_only_the_operator_can_do():
    error = DataError("the file is large; expected a smaller one: cut it", otherwise="raise data.max_pixels")
    for same in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301  # our own
        assert str(same) == "the file is large; expected a smaller one: cut it, or raise data.max_pixels"
        assert same.for_clients == "the file is large; expected a smaller one: cut it"
