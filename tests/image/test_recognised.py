"""A question of transformers, answered for our processors; stand-ins take the place of its modules."""

import sys
from types import SimpleNamespace

import pytest

from beit import BeitFeatureExtractor, BeitImageProcessor
from beit.image.recognised import recognise


class BaseImageProcessor:
    """The class that instances are asked for."""


@pytest.fixture
def pipelines(monkeypatch):
    module = SimpleNamespace(BaseImageProcessor=BaseImageProcessor)
    monkeypatch.setitem(sys.modules, "transformers.pipelines", module)
    monkeypatch.setitem(sys.modules, "transformers.pipelines.base", SimpleNamespace())  # while it is being imported
    return module


def test_a_processor_makes_itself_known(pipelines):
    theirs, ours = BaseImageProcessor(), BeitImageProcessor()
    assert isinstance(ours, pipelines.BaseImageProcessor)
    with pytest.warns(FutureWarning):
        assert isinstance(BeitFeatureExtractor(), pipelines.BaseImageProcessor)
    assert isinstance(theirs, pipelines.BaseImageProcessor)
    assert not isinstance("a path", pipelines.BaseImageProcessor)
    assert issubclass(pipelines.BaseImageProcessor, BaseImageProcessor)
    assert not isinstance(ours, BaseImageProcessor)  # elsewhere nothing has changed


def test_it_is_done_once(pipelines):
    BeitImageProcessor()
    first = pipelines.BaseImageProcessor
    recognise(BeitImageProcessor)
    assert pipelines.BaseImageProcessor is first


def test_without_pipelines_nothing_is_imported(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    recognise(BeitImageProcessor)
    assert "transformers" not in sys.modules
