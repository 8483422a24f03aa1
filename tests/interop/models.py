"""Shared parts of the comparisons with transformers: models without a zero in them, and the tolerance."""

import numpy as np
import torch


def randomised(model, seed):
    """Give every parameter and buffer seeded random values, and evaluate: nothing is zero, so nothing can hide."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                tensor.fill_(3)  # the number of batches that a batch norm has seen
            elif name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=rng) + 0.5)
            else:
                tensor.copy_(torch.randn(tensor.shape, generator=rng) * 0.3)
    return model.eval()


def assert_close(ours, reference, what="", times=1.0):
    """Compare a tensor, or a tuple of them, at 2e-5 of the largest value (of 1, if all are smaller)."""
    if isinstance(ours, tuple):
        assert len(ours) == len(reference), what
        for index, (one, other) in enumerate(zip(ours, reference, strict=True)):
            assert_close(one, other, f"{what} {index}", times)
        return
    ours, reference = np.asarray(ours.detach()), np.asarray(torch.as_tensor(reference).detach())
    scale = max(1.0, float(np.abs(reference).max(initial=0.0))) * times
    np.testing.assert_allclose(ours, reference, atol=2e-5 * scale, rtol=1e-4, err_msg=what)
