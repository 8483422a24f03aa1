"""Worker of flax_forward.py: `save`, or answers on standard input with `ours`, `theirs` or `torch`."""

import json
import os
import sys
import time

import numpy as np

OPTIONS = {"use_relative_position_bias": True, "layer_norm_eps": 1e-6, "num_labels": 1000, "drop_path_rate": 0.1}
PIXELS = np.random.default_rng(0).standard_normal((8, 3, 224, 224), dtype=np.float32)
LABELS = np.arange(8)


def save(folder):
    """Write a model with weights that are not all small, in the layout that all three read."""
    from beit import BeitConfig, FlaxBeitForImageClassification

    FlaxBeitForImageClassification(BeitConfig(**OPTIONS)).save_pretrained(folder)


def timed(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


class InJax:
    """A Flax model, ours or theirs."""

    def __init__(self, folder, ours):
        import jax

        self.jax = jax
        if ours:
            from beit import FlaxBeitForImageClassification
        else:
            from transformers import FlaxBeitForImageClassification
        model = FlaxBeitForImageClassification.from_pretrained(folder)
        self.model, self.params = model, model.params
        self.call = jax.jit(lambda params, pixels: model(pixels, params=params).logits)

    def forward(self, batch):
        return self.call(self.params, PIXELS[:batch]).block_until_ready()

    def warm(self):
        first = timed(lambda: self.forward(8))
        numbers = {"compile": first, "sum": float(abs(np.asarray(self.forward(8))).sum())}
        self.forward(1)
        return numbers

    def begin_steps(self):
        """Compile a step of AdamW."""
        import jax.numpy as jnp
        import optax

        jax, model = self.jax, self.model
        optimiser = optax.adamw(1e-4)

        def loss(params, key):
            logits = model(PIXELS, params=params, dropout_rng=key, train=True).logits
            return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(LABELS)).mean()

        def step(state, key):
            params, moments = state
            value, gradients = jax.value_and_grad(loss)(params, key)
            updates, moments = optimiser.update(gradients, moments, params)
            return (optax.apply_updates(params, updates), moments), value

        params = jax.tree.map(jnp.copy, self.params)
        self.step, self.state = jax.jit(step, donate_argnums=0), (params, optimiser.init(params))
        self.take_step()

    def take_step(self):
        self.state, value = self.step(self.state, self.jax.random.PRNGKey(0))
        value.block_until_ready()

    def product(self):
        """Return the operations per second of the products of a layer, on the tokens of eight pictures."""
        import jax.numpy as jnp

        tokens, rate = 8 * 197, []
        for inputs, outputs in ((768, 3072), (3072, 768), (768, 768)):
            one, other = jnp.ones((tokens, inputs)), jnp.ones((inputs, outputs))
            dot = self.jax.jit(jnp.dot)
            dot(one, other).block_until_ready()
            seconds = min(timed(lambda: dot(one, other).block_until_ready()) for _ in range(7))  # noqa: B023
            rate.append(2 * tokens * inputs * outputs / seconds)
        return max(rate)


class InTorch:
    """Our torch model."""

    def __init__(self, folder, cores):
        import torch

        from beit import BeitForImageClassification

        torch.set_num_threads(cores)
        self.torch, self.model = torch, BeitForImageClassification.from_pretrained(folder)
        self.pixels, self.labels = torch.from_numpy(PIXELS), torch.from_numpy(LABELS)

    def forward(self, batch):
        with self.torch.inference_mode():
            return self.model.eval()(self.pixels[:batch]).logits

    def warm(self):
        self.forward(1)
        return {"sum": float(self.forward(8).abs().sum())}

    def begin_steps(self):
        self.optimiser = self.torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.take_step()

    def take_step(self):
        self.model.train()(self.pixels, labels=self.labels).loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


def answer(worker, what):
    """Return what is asked for; training begins at the first step that is asked for."""
    if what == "warm":
        return worker.warm() | (
            {"flops": flops(worker.model.config)} if hasattr(worker.model.config, "patch_hw") else {}
        )
    if what == "product":
        return {"rate": worker.product()}
    if what == "step":
        if not hasattr(worker, "began"):
            worker.began = True
            worker.begin_steps()
        return {"seconds": timed(worker.take_step)}
    return {"seconds": timed(lambda: worker.forward(int(what.split()[1])))}


def flops(config):
    """Return the operations of one picture through the encoder: two for each multiplication of a matrix product."""
    from beit.tasks.pretrain.cost import forward_flops

    return forward_flops(config, 0)


def main():
    kind, folder, cores = sys.argv[1], sys.argv[2], int(sys.argv[3])
    os.environ["OMP_NUM_THREADS"] = str(cores)
    if kind == "save":
        return save(folder)
    worker = InTorch(folder, cores) if kind == "torch" else InJax(folder, kind == "ours")
    for line in sys.stdin:
        print(json.dumps(answer(worker, line.strip())), flush=True)
    return None


if __name__ == "__main__":
    main()
