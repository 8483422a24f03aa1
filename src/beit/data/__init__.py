"""Data of a run: pictures, their views and masks, and the order and batches of training."""

from beit.data.broken import BrokenPicture, BrokenPictures, check_shards, list_shards, require_usable
from beit.data.channels import ChannelStatistics, measure_channels
from beit.data.class_file import NamedClasses, read_classes
from beit.data.class_names import composed
from beit.data.dataset import ViewDataset
from beit.data.label_file import LabelTable, label_files, read_label_table, splits_of_labels, with_labels
from beit.data.loader import Batch, Collate, evaluation_batches, loading_workers, require_whole, training_batches
from beit.data.opening import open_source, splits_of
from beit.data.sampler import BatchOrder, Purpose, check_shared_batch, generator
from beit.data.selection import few_per_class, sample, split, spread, with_classes
from beit.data.sources.kept import KeptPictures, decoded_bytes
from beit.data.sources.label_maps import CITYSCAPES, MOST_NUMBERS, LabelIds
from beit.data.sources.scenes import Scene, SceneFolder
from beit.data.sources.source import BrokenShard, ImageSource, LabelKind, Subset, fingerprint, spaced, still_there
from beit.data.sources.split_names import named_split, pictures_and_maps, split_kind
from beit.data.splits import ALL, Splits, chosen_split
from beit.data.tokens import (
    FINISHED,
    LOCK_NAME,
    MISSING,
    StoredTokens,
    TokenWriter,
    check_identity,
    read_identity,
    write_labels_and_names,
)
from beit.data.transforms.affine import AffineRange
from beit.data.transforms.device_views import LONGEST_SIDE, DeviceViews, only_on_cpu
from beit.data.transforms.mixing import PAIR, Mix, Mixing
from beit.data.transforms.rand_augment import RandAugment
from beit.data.transforms.scene_views import SceneViews
from beit.data.transforms.views import Augmentation, ExactView, Views
from beit.geometry import MaskPlan

__all__ = [
    "ALL",
    "CITYSCAPES",
    "FINISHED",
    "LOCK_NAME",
    "LONGEST_SIDE",
    "MISSING",
    "MOST_NUMBERS",
    "PAIR",
    "AffineRange",
    "Augmentation",
    "Batch",
    "BatchOrder",
    "BrokenPicture",
    "BrokenPictures",
    "BrokenShard",
    "ChannelStatistics",
    "Collate",
    "DeviceViews",
    "ExactView",
    "ImageSource",
    "KeptPictures",
    "LabelIds",
    "LabelKind",
    "LabelTable",
    "MaskPlan",
    "Mix",
    "Mixing",
    "NamedClasses",
    "Purpose",
    "RandAugment",
    "Scene",
    "SceneFolder",
    "SceneViews",
    "Splits",
    "StoredTokens",
    "Subset",
    "TokenWriter",
    "ViewDataset",
    "Views",
    "check_identity",
    "check_shards",
    "check_shared_batch",
    "chosen_split",
    "composed",
    "decoded_bytes",
    "evaluation_batches",
    "few_per_class",
    "fingerprint",
    "generator",
    "label_files",
    "list_shards",
    "loading_workers",
    "measure_channels",
    "named_split",
    "only_on_cpu",
    "open_source",
    "pictures_and_maps",
    "read_classes",
    "read_identity",
    "read_label_table",
    "require_usable",
    "require_whole",
    "sample",
    "spaced",
    "split",
    "split_kind",
    "splits_of",
    "splits_of_labels",
    "spread",
    "still_there",
    "training_batches",
    "with_classes",
    "with_labels",
    "write_labels_and_names",
]
