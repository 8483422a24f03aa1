"""Fine-tune a model on your own classes in JAX, with optax.

    python examples/jax_finetune.py microsoft/beit-base-patch16-224-pt22k classes/train classes/test mine/

A folder has one folder of pictures per class. `beit finetune --run.framework jax` adds random crops, mixup, layer-wise
learning rates, checkpoints, several devices and a report. Needs beit with its extra `flax`.
"""

import sys

import jax
import numpy as np
import optax

from beit import BeitImageProcessor, FlaxBeitForImageClassification
from beit.data import open_source, with_classes
from beit.models_flax.labels import mean_cross_entropy

EPOCHS, BATCH_SIZE, LEARNING_RATE = 5, 32, 5e-5

checkpoint, train, test, output = sys.argv[1:]
pictures = open_source(train)
processor = BeitImageProcessor.from_pretrained(checkpoint)
model = FlaxBeitForImageClassification.from_pretrained(checkpoint, id2label=dict(enumerate(pictures.classes)))
optimiser = optax.chain(optax.clip_by_global_norm(3.0), optax.adamw(LEARNING_RATE, weight_decay=0.05))
params, state = model.params, optimiser.init(model.params)


def batches(source, order):
    for first in range(0, len(order), BATCH_SIZE):
        indices = order[first : first + BATCH_SIZE]
        yield (
            processor([source.load(index) for index in indices], return_tensors="np").pixel_values,
            source.labels[indices],
        )


@jax.jit
def step(params, state, pixels, labels, key):
    def loss(params):
        return mean_cross_entropy(model(pixels, params=params, dropout_rng=key, train=True).logits, labels)

    value, gradients = jax.value_and_grad(loss)(params)
    updates, state = optimiser.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, value


rng, key = np.random.default_rng(0), jax.random.key(0)
for epoch in range(EPOCHS):
    order = rng.permutation(len(pictures))
    for pixels, labels in batches(pictures, order[: len(order) // BATCH_SIZE * BATCH_SIZE]):
        key, drop = jax.random.split(key)
        params, state, value = step(params, state, pixels, labels, drop)
    print(f"epoch {epoch + 1}: loss of the last batch {value:.3f}")

model.params = params
held_out = with_classes(open_source(test), pictures.classes)  # numbered alike, also where it lacks some
right = [model(pixels).logits.argmax(-1) == labels for pixels, labels in batches(held_out, np.arange(len(held_out)))]
print(f"accuracy on {test}: {np.concatenate(right).mean():.3f}")
model.save_pretrained(output)
processor.save_pretrained(output)  # beside the model: `beit predict` and `Predictor` read both
