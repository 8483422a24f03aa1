"""Turn the pictures of a folder into vectors, keep them as parquet, and name the nearest neighbours of each.

    python examples/extract_features.py microsoft/beit-base-patch16-224 my_pictures/ features.parquet

`beit predict MODEL FOLDER --task embed --output features.parquet` does the first half for collections of any size.
Needs beit and `pip install pyarrow`.
"""

import sys

import numpy as np
import pyarrow
import pyarrow.parquet

from beit import Predictor
from beit.image import picture_files

model, folder, output = sys.argv[1:]
pictures = [str(path) for path in picture_files(folder)]
features = np.stack([answer.vector for answer in Predictor.from_pretrained(model).embed(pictures)])
pyarrow.parquet.write_table(pyarrow.table({"picture": pictures, "embedding": list(features)}), output)

unit = features / np.linalg.norm(features, axis=1, keepdims=True)
likeness = unit @ unit.T  # cosines: 1 is the same direction
np.fill_diagonal(likeness, -np.inf)
for picture, row in zip(pictures, likeness, strict=True):
    nearest = [f"{pictures[index]} ({row[index]:.2f})" for index in np.argsort(-row)[:3]]
    print(f"{picture}: {', '.join(nearest)}")
