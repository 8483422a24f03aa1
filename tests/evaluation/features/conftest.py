"""Layers of made-up features, one of them clear, and what the probes make of them."""

import pytest

from beit.evaluation.features.probes import score_model
from tests.evaluation.features.test_probes import PLAN, layers


@pytest.fixture(scope="module")
def data():
    return *layers(400, 1), *layers(300, 2)


@pytest.fixture(scope="module")
def scores(data):
    return score_model(*data, PLAN)
