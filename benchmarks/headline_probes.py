"""Probes of frozen features on CIFAR-10: nearest neighbours, ridge and attentive, of a BEiT or of raw pixels.

Layer, neighbours, penalty and epochs of a probe are chosen on parts of its own labelled pictures, which are held out
from it meanwhile; then it is fitted to all of them.

Legend: P pictures, N patches, D features, K classes.
"""

import hashlib
from functools import partial

import numpy as np
import torch

from beit.evaluation.features.attentive import attentive_accuracy, train_attentive
from beit.evaluation.features.neighbours import knn_accuracy
from beit.evaluation.features.ridge import fit_ridge
from cifar10 import batches

NEIGHBOURS = (1, 5, 10, 20, 50)
FOLDS, MOST_FOLDED, HELD_OUT = 5, 5000, 2000  # of more pictures than that, one part is held out, of so many
EPOCHS = {"100%": (2, 4, 8), "10%": (5, 10, 20, 40), "1%": (10, 20, 40, 80)}


class Pixels:
    """Raw pixels in the place of features: one layer of 3,072 numbers in [-1, 1], as models see them.

    The origin matters to a cosine: on held-out training pictures it is a stronger kNN than pixels in [0, 1].
    """

    def means(self, pixels):
        return [pixels.reshape(len(pixels), -1).astype(np.float32) / 127.5 - 1]


class Frozen:
    """Features of the layers of a BEiT whose weights stay as they are; means are kept, as several probes take them."""

    def __init__(self, model):
        self.model = model.eval()
        self._known = {}

    def means(self, pixels):
        """Return the mean over the patches (P, D) of every layer."""
        key = hashlib.sha256(np.ascontiguousarray(pixels)).digest()
        if key not in self._known:
            self._known[key] = self._means(pixels)
        return self._known[key]

    @torch.inference_mode()
    def _means(self, pixels):
        parts = [[states[:, 1:].mean(dim=1) for states in self._states(batch)] for batch in batches(pixels)]
        return [torch.cat(layer).numpy() for layer in zip(*parts, strict=True)]

    @torch.inference_mode()
    def patches(self, pixels, layer):
        """Return the patch features (P, N, D) of one layer, from 1; in half precision, for they are many."""
        return torch.cat([self._states(batch)[layer - 1][:, 1:].half() for batch in batches(pixels)])

    def _states(self, batch):
        return self.model.beit(batch, output_hidden_states=True, return_dict=True).hidden_states[1:]


def folds(count):
    """Return parts of pictures to choose with, each as (held out, all others)."""
    order = np.random.default_rng(0).permutation(count)
    parts = np.array_split(order, FOLDS) if count <= MOST_FOLDED else [order[:HELD_OUT]]
    return [(np.sort(part), np.setdiff1d(order, part)) for part in parts]


def best(scores):
    """Return the setting with the best mean accuracy over the parts, and that accuracy; of equals the first."""
    setting = max(scores, key=lambda one: np.mean(scores[one]))
    return setting, float(np.mean(scores[setting]))


def fit_knn(source, pixels, labels):
    """Return what was chosen, and the function that judges pictures by their nearest neighbours (cosine)."""
    layers, scores = source.means(pixels), {}
    for held_out, others in folds(len(labels)):
        for layer, known in enumerate(layers, start=1):
            for k in (k for k in NEIGHBOURS if k <= len(others)):
                judged = knn_accuracy(known[others], labels[others], known[held_out], labels[held_out], k)
                scores.setdefault((layer, k), []).append(judged)
    (layer, k), accuracy = best(scores)

    def judge(test, classes):
        return knn_accuracy(layers[layer - 1], labels, source.means(test)[layer - 1], classes, k)

    return {"layer": layer, "k": k, "held_out_accuracy": accuracy}, judge


def fit_linear(source, pixels, labels):
    """Return what was chosen, and the function that judges pictures by a ridge probe.

    The penalty is chosen within `fit_ridge`, on a quarter of the pictures that it gets; the layer, of several, here.
    """
    layers, scores = source.means(pixels), {}
    for held_out, others in folds(len(labels)) if len(layers) > 1 else ():
        for layer, known in enumerate(layers, start=1):
            judged = fit_ridge(known[others], labels[others]).accuracy(known[held_out], labels[held_out])
            scores.setdefault(layer, []).append(judged)
    layer, accuracy = best(scores) if scores else (1, None)
    probe = fit_ridge(layers[layer - 1], labels)

    def judge(test, classes):
        return probe.accuracy(source.means(test)[layer - 1], classes)

    return {"layer": layer, "penalty": probe.penalty, "held_out_accuracy": accuracy}, judge


def fit_attentive(source, pixels, labels, layer, epochs, seed):
    """Return what was chosen, and the function that judges pictures by an attentive probe of one layer.

    Args:
        source: A `Frozen` model.
        pixels: The labelled pictures.
        labels: Their classes.
        layer: The layer that the linear probe of the same pictures chose.
        epochs: Numbers of epochs to choose from.
        seed: Of the probe's weights.
    """
    patches, scores = source.patches(pixels, layer), {}

    def look(held_out, epoch, probe):
        if epoch in epochs:
            judged = attentive_accuracy(probe, patches[held_out], labels[held_out])
            scores.setdefault(epoch, []).append(judged)

    for held_out, others in folds(len(labels))[:1]:  # one part: a training takes as long as all else together
        train_attentive(patches[others], labels[others], max(epochs), seed, partial(look, held_out))
    chosen, accuracy = best(scores)
    probe = train_attentive(patches, labels, chosen, seed)

    def judge(test, classes):
        return attentive_accuracy(probe, source.patches(test, layer), classes)

    return {"layer": layer, "epochs": chosen, "held_out_accuracy": accuracy}, judge
