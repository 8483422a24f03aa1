"""Measure what the features of a model are worth: logistic regression on them, the model itself untouched.

    python examples/linear_probe.py microsoft/beit-base-patch16-224-pt22k classes/train classes/test

A folder has one folder of pictures per class. `beit finetune --freeze encoder --probe.layer 9` does it for any layer,
with random crops. Needs beit and `pip install scikit-learn`.
"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from beit import Predictor
from beit.data import open_source

model, train, test = sys.argv[1:]
predictor = Predictor.from_pretrained(model)


def features_and_classes(folder):
    source = open_source(folder)  # also of parquet and tar files
    pixels = (predictor.prepare(source.load(index))[None] for index in range(len(source)))
    features = [predictor.embed_pixels(picture)[0].vector for picture in pixels]
    return np.stack(features), np.array(source.classes)[source.labels]


probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
probe.fit(*features_and_classes(train))
print(f"accuracy of the probe: {probe.score(*features_and_classes(test)):.3f}")
