"""Pictures, their views, and the order in which a run sees them."""

from beit.data.augmentation import Augmentation
from beit.data.dataset import (
    Batch,
    BrokenPicture,
    Collate,
    MaskPlan,
    ViewDataset,
    evaluation_batches,
    training_batches,
)
from beit.data.order import BatchOrder, check_shared_batch
from beit.data.random import Purpose, generator
from beit.data.source import ImageSource, open_source
from beit.data.subset import Subset, few_per_class, split
from beit.data.views import Views

__all__ = [
    "Augmentation",
    "Batch",
    "BatchOrder",
    "BrokenPicture",
    "Collate",
    "ImageSource",
    "MaskPlan",
    "Purpose",
    "Subset",
    "ViewDataset",
    "Views",
    "check_shared_batch",
    "evaluation_batches",
    "few_per_class",
    "generator",
    "open_source",
    "split",
    "training_batches",
]
