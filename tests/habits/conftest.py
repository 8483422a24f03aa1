"""What several habits need."""

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState


@pytest.fixture(params=["no", "bf16"])
def accelerator(request):
    """An accelerator on the CPU in either precision, whose state no other test sees."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(cpu=True, mixed_precision=request.param)
    AcceleratorState._reset_state(reset_partial_state=True)
