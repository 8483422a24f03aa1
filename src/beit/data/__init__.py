"""Pictures, their views, and the order in which a run sees them."""

from beit.data.augmentation import Augmentation
from beit.data.dataset import (
    Batch,
    BrokenPicture,
    Collate,
    ViewDataset,
    evaluation_batches,
    training_batches,
)
from beit.data.fingerprint import fingerprint
from beit.data.label_file import with_labels
from beit.data.mask_plan import MaskPlan
from beit.data.mixing import PAIR, Mix, Mixing
from beit.data.order import BatchOrder, check_shared_batch
from beit.data.rand_augment import RandAugment
from beit.data.random import Purpose, generator
from beit.data.source import BrokenShard, ImageSource, LabelKind, open_source
from beit.data.subset import Subset, few_per_class, split
from beit.data.token_folder import MISSING, StoredTokens, TokenWriter, check_facts, write_labels_and_names
from beit.data.views import Views

__all__ = [
    "MISSING",
    "PAIR",
    "Augmentation",
    "Batch",
    "BatchOrder",
    "BrokenPicture",
    "BrokenShard",
    "Collate",
    "ImageSource",
    "LabelKind",
    "MaskPlan",
    "Mix",
    "Mixing",
    "Purpose",
    "RandAugment",
    "StoredTokens",
    "Subset",
    "TokenWriter",
    "ViewDataset",
    "Views",
    "check_facts",
    "check_shared_batch",
    "evaluation_batches",
    "few_per_class",
    "fingerprint",
    "generator",
    "open_source",
    "split",
    "training_batches",
    "with_labels",
    "write_labels_and_names",
]
