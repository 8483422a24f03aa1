"""The fuzzing campaign: clean for some seconds, the same for a seed, and not blind."""

import json
import os
import random
import signal
import socket
import subprocess
import time

import pytest

from tests.campaigns.fuzz import fuzz
from tests.campaigns.models import answered, heads, requests
from tests.campaigns.mutations import mutated
from tests.campaigns.target import Target
from tests.campaigns.targets import targets


@pytest.mark.e2e
def test_some_seconds_of_it_are_clean(tmp_path):
    (tmp_path / "needed").mkdir()
    kinds = targets(tmp_path / "needed")
    assert len(kinds) > 40
    for name, target in kinds.items():  # what is sound is read: damage to what is refused anyway finds nothing
        target.read(target.write(target.sound[0], tmp_path / "sound" / name.replace(" ", "_") / "fuzzed"))
    found = fuzz(kinds, 7, 4.0, tmp_path / "findings")
    assert found.inputs > 50
    assert found.findings == {}, list((tmp_path / "findings").iterdir())


@pytest.mark.e2e
def test_sound_requests_are_answered(tmp_path):
    for number, content in enumerate([*requests(), *heads()[:2]]):
        (tmp_path / "request").write_bytes(content)
        assert answered(tmp_path / "request") == 200, number


def test_a_seed_gives_the_same_inputs():
    once, again = ([mutated(random.Random(f"3-{n}"), [b"abc" * 50]) for n in range(50)] for _ in range(2))  # noqa: S311
    assert once == again
    assert len(set(once)) > 40


def test_values_in_sound_json_are_changed():
    sound = b'{"a": {"b": [1, 2]}, "c": "d"}'
    found = [mutated(random.Random(n), [sound]) for n in range(300)]  # noqa: S311
    trees = {json.dumps(tree) for content in found if (tree := read(content)) is not None}
    assert len(trees) > 20
    assert any('"b"' not in tree and '"c"' in tree for tree in trees), "a value deep inside"


def test_json_that_is_too_deep_to_change_is_an_input_too():
    for sound in (b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 990 + b"1" + b"}" * 990):
        assert all(mutated(random.Random(n), [sound]) for n in range(100))  # noqa: S311


def read(content):
    try:
        return json.loads(content)
    except ValueError:
        return None


DEFECTS = {
    "exception": lambda path: 1 / 0,
    "hang": lambda path: time.sleep(60),
    "memory": lambda path: bytearray(2**34),
    "execution": lambda path: subprocess.run(["true"]),
    "connection": lambda path: socket.create_connection(("a.invalid", 80)),
    "crash": lambda path: os.kill(os.getpid(), signal.SIGKILL),
}


@pytest.mark.parametrize("sort", DEFECTS)
def test_a_defect_is_found_and_kept(tmp_path, monkeypatch, sort):
    monkeypatch.setattr("tests.campaigns.fuzz.SECONDS", 0.5)
    monkeypatch.setattr("tests.campaigns.fuzz.BATCH", 2)
    found = fuzz({"a kind": Target("a.bin", [b"abc"], DEFECTS[sort])}, 1, 1.5, tmp_path)
    said = "execution" if sort == "connection" else sort
    assert found.findings[said] >= 1
    assert any(path.suffix == f".{said}" for path in tmp_path.iterdir())
