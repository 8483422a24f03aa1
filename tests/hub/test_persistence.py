"""Patience with servers: which errors are met again, and what is said of them."""

import socket

import pytest

from beit.errors import ConnectionLostError, DataError
from beit.hub import persistence
from beit.hub.persistence import persist


class HttpError(Exception):
    """As that of gcsfs."""

    def __init__(self, code):
        super().__init__(f"status {code}")
        self.code = code


HttpError.__module__ = "gcsfs.retry"


class NoCredentialsError(Exception):
    """As that of botocore."""


@pytest.fixture
def tries(monkeypatch):
    """Return a call that is asked with these errors one after the other, and the number of times that it was."""
    monkeypatch.setattr(persistence, "_WAITS", (0.0,) * 3)

    def asked(*errors):
        left = list(errors)

        def call():
            if left:
                raise left.pop(0)
            return "answer"

        try:
            return persist("s3://bucket/a.tar", call)
        finally:
            asked.left = len(left)

    return asked


@pytest.mark.parametrize(
    "error", [ConnectionError("reset"), TimeoutError(), HttpError(503), HttpError(429), Exception("anything")]
)
def test_what_may_pass_is_tried_again(tries, error):
    assert tries(error, error, error) == "answer"
    with pytest.raises(ConnectionLostError, match=r"s3://bucket/a\.tar cannot be reached any more .*the same command"):
        tries(error, error, error, error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError("The specified bucket does not exist"), "there is no such bucket"),
        (FileNotFoundError("a.tar"), "there is no such file"),
        (HttpError(404), "there is no such file"),
        (PermissionError("Forbidden"), "access is refused; check the address and the credentials"),
        (HttpError(401), "access is refused"),
        (NoCredentialsError("Unable to locate credentials"), "there are no credentials for it; set AWS_PROFILE"),
        (HttpError(412), "it has changed since it was listed"),
        (HttpError(418), "its server answers HTTP 418"),
        (ValueError("Invalid bucket name"), "Invalid bucket name"),
    ],
)
def test_what_lasts_is_said_at_once(tries, error, words):
    with pytest.raises(DataError, match=rf"s3://bucket/a\.tar cannot be read: {words}"):
        tries(error, error)
    assert tries.left == 1


def unresolved():
    error = FileNotFoundError("https://nowhere.example/a.tar")
    error.__cause__ = socket.gaierror(-2, "Name or service not known")
    return error


def test_a_host_that_is_not_known_is_said_at_once(tries, monkeypatch):
    monkeypatch.setattr(persistence, "_answered", set())
    with pytest.raises(DataError, match=r"a\.tar cannot be read: its host cannot be resolved; check the address"):
        tries(unresolved())


def test_a_running_job_waits_for_its_network(tries, monkeypatch):
    monkeypatch.setattr(persistence, "_answered", set())
    tries()
    tries(unresolved(), unresolved())


def test_an_error_of_ours_comes_through(tries):
    wrapped = FileNotFoundError("a")
    wrapped.__cause__ = DataError("over https only")
    with pytest.raises(DataError, match=r"^over https only$"):
        tries(wrapped)
