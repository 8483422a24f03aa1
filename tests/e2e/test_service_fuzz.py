"""Whatever the OpenAPI description allows, and what it forbids, is answered as it says."""

from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.service.test_server import fake

CALM = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

# Most bytes are no picture; and a wrong value such as an empty list is no field at all once it stands in a form.
UNDECIDED = [positive_data_acceptance, negative_data_rejection]


@pytest.fixture(scope="module")
def service():
    with fake(seconds=0.0, max_upload_mb="0.2", max_pixels=10_000) as running:
        yield running


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.name)
def test_every_route_keeps_to_its_description(service, mode):
    described = schemathesis.openapi.from_url(f"{service.address}/openapi.json")
    calls = Counter()

    @CALM
    @given(data=strategies.data())
    def keeps_to_it(operation, data):
        case = data.draw(operation.as_strategy(generation_mode=mode))
        calls[operation.label] += 1
        case.call_and_validate(excluded_checks=UNDECIDED)

    for operation in (found.ok() for found in described.get_all_operations()):
        try:
            keeps_to_it(operation)
        except Unsatisfiable:  # a route without parameters has nothing to be wrong
            assert operation.method == "get"
    posts = [label for label in calls if label.startswith("POST")]
    assert len(posts) == 6, calls
    assert all(calls[label] >= 15 for label in posts), calls
    assert service.classify().status_code == 200
    assert service.metric("beit_requests_open") == 0
