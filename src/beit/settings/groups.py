"""Groups of settings that several commands share, typed, checked and documented.

Nothing here imports a framework, so that the command line reads settings at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings

SizeName = Literal["tiny", "small", "base", "large"]
Device = Literal["auto", "cpu", "cuda"]
TrainingPrecision = Literal["auto", "fp32", "bf16", "fp16"]
InferencePrecision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, config=STRICT)
class FolderSettings(Settings):
    """Run folder and seed."""

    output: str = "runs/run"
    """Run folder: recipe, metrics, checkpoints, model and report."""
    resume: bool = True
    """Continue the run found in the folder; false refuses a folder that holds one."""
    force: bool = False
    """Continue although settings differ from those the run was started with; they are named."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of everything random."""


@dataclass(frozen=True, config=STRICT)
class RunSettings(FolderSettings):
    """Run folder, seed, device, precision and checkpoints."""

    framework: Literal["torch", "jax"] = "torch"
    """Framework of the training steps. jax (extra `flax`): pre-training and fine-tuning, over all of its devices."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    precision: TrainingPrecision = "auto"
    """Precision of the computation; auto: bf16 on a GPU that supports it, fp16 with a scaled loss on Volta and Turing,
    on a CPU what is faster there, else fp32."""
    exact: bool | Literal["auto"] = "auto"
    """Whether every run on a GPU has the same bits: true takes deterministic kernels alone, and no TF32; false the
    fastest ones, TF32, and convolutions that are timed first and work channels last. auto: false on a GPU. A CPU is
    exact in any case; JAX does as its own flags say."""
    sharding: Literal["ddp", "fsdp"] = "ddp"
    """Over processes: ddp keeps everything whole in each; fsdp divides parameters, gradients and optimiser state."""
    failure_detection: bool | Literal["auto"] = "auto"
    """Over processes: end all of them at once, with the reason, when one fails or is lost. auto: where all are on one
    machine; over several, true needs a TCP port of the first one, and without it the launcher has to end the others."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two lines of metrics.jsonl."""
    save_every: int = Field(default=500, ge=1)
    """Steps between two checkpoints."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest checkpoints to keep."""
    report: bool = True
    """Write report.html at the end."""
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ("tensorboard",)
    """Where the numbers go beside metrics.jsonl; all but tensorboard have to be installed."""


@dataclass(frozen=True, config=STRICT)
class PictureSettings(Settings):
    """Pictures, and the reading of them."""

    path: str
    """Folder of pictures (folders inside it are classes); parquet or tar file, folder of them, or pattern such as
    shards/train-{000..099}.tar, also on s3://, gs:// or https://; hub:owner/name, with :split and @revision if wanted;
    or digits:train."""
    labels: str | None = None
    """CSV or JSON lines with labels for a folder of pictures: `file_name`, and `label` (a class), `labels` (several,
    separated by ;) or `value` (a number); pictures without a row are left out. null: the folders are the classes."""
    columns: tuple[str, ...] = ()
    """Columns of labels, or of parquet files, by name: that of the pictures, then one of labels, or several of 0 and 1;
    empty: the usual names."""
    split: str | None = None
    """Split of a path that holds several, as folders or files called train, val and test; all mixes them. null: a
    training takes train, and validates on val; anything else asks for a name."""
    min_side: int = Field(default=8, ge=1)
    """Pictures with a shorter side, in pixels, count as broken."""
    max_pixels: int | None = Field(default=None, ge=1)
    """Pictures with more pixels count as broken; null: 178,956,970, a guard against files that fill the memory."""
    max_broken: float = Field(default=0.01, ge=0, le=1)
    """Stop when more than this share of the pictures, or of the shards, is broken; fewer are skipped and listed."""
    channels: int = Field(default=3, ge=1, le=256)
    """Channels of the pictures, and of the model: 3 is RGB, which everything is turned into; 1 grey; 4 RGBA; any number
    for TIFF files of many bands and arrays (.npy and .npz of height x width x channels)."""
    value_range: tuple[float, float] | Literal["auto", "bits"] = "auto"
    """The values that become 0 and 1 in files of more than 8 bits; beyond them they are cut off. auto: what a file
    declares, else all of 16 bits, 0 to 1 of real numbers; else such a file is refused. bits: all that whole numbers of
    the type in the file can hold, whatever it declares."""
    frame: int | None = Field(default=None, ge=0)
    """Frame to read of files that hold several (DICOM, GIF, pages of TIFF), from 0; null: such files are refused."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Processes that load pictures; results do not depend on it. auto: the CPUs that this process may use, over the
    processes of the run on this machine, less those that compute; one at least, sixteen at most."""

    def __post_init__(self) -> None:
        """Check the range of the values."""
        if isinstance(self.value_range, str):
            return
        if not self.value_range[0] < self.value_range[1]:
            raise ValueError(
                f"value_range is {list(self.value_range)}; expected auto, bits, or two numbers, the first less"
            )


@dataclass(frozen=True, config=STRICT)
class DataSettings(PictureSettings):
    """Pictures to train and to validate on."""

    val_path: str | None = None
    """Pictures to validate on; default: a share of the others."""
    val_labels: str | None = None
    """The same as labels for val_path, which may be the same folder."""
    val_share: float = Field(default=0.05, gt=0, lt=1)
    """Share of the pictures to hold out when val_path is not given; 50 at least, where that is a fifth at most."""
    per_class: int | None = Field(default=None, ge=1)
    """Train on this many pictures per class only, chosen by the seed."""
    keep_decoded: bool | Literal["auto"] = "auto"
    """Decode the pictures to train on once, and keep them in memory, which the loading processes share; results do not
    depend on it. auto: where a run sees them twice or more and they take at most 1 GiB and a quarter of the free
    memory, over all processes of this machine; true: up to three quarters of that memory."""
    shuffle_window: int | None = Field(default=None, ge=1)
    """Read nearly in order: shuffle the files of a collection, then their pictures within so many; null: over all."""

    def __post_init__(self) -> None:
        """Check that labels to validate with have pictures."""
        super().__post_init__()
        if self.val_labels is not None and self.val_path is None:
            raise ValueError(
                f"val_labels is {self.val_labels!r} without val_path, so that no picture would have these labels; name "
                f"their folder with data.val_path, which may be that of data.path, {self.path}"
            )


@dataclass(frozen=True, config=STRICT)
class AugmentSettings(Settings):
    """Random changes of the pictures."""

    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Range of the crop's share of the picture's area."""
    crop_aspect: tuple[float, float] = (0.75, 1.3333)
    """Range of the crop's width over height."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    color_jitter: float = Field(default=0.4, ge=0)
    """Strength of changes in brightness, contrast and saturation."""
    rotation: float = Field(default=0.0, ge=0, le=180)
    """Largest turn to either side, in degrees; beyond its edges a picture is mirrored."""
    shear: float = Field(default=0.0, ge=0, le=1)
    """Largest horizontal slant to either side, in pixels per pixel of height."""
    shift: float = Field(default=0.0, ge=0, le=1)
    """Largest shift in each direction, as a share of the crop's sides; unlike a crop it may pass the edges."""
    device: Literal["auto", "cpu", "model"] = "auto"
    """Where a training computes crops and colours: cpu by the processes that load pictures; model where the model is, a
    whole batch at once, of small pictures that data.keep_decoded keeps, to the same values in 8 bits. auto: model on a
    GPU, where no side of a picture is longer than 128 pixels and nothing else changes it."""

    def __post_init__(self) -> None:
        """Check the ranges, which no single bound can."""
        for name, (low, high), most in (("crop_scale", self.crop_scale, 1.0), ("crop_aspect", self.crop_aspect, 1e3)):
            if not 0 < low <= high <= most:
                raise ValueError(f"{name} is [{low}, {high}]; expected 0 < first <= second <= {most:g}")


@dataclass(frozen=True, config=STRICT)
class ModelSettings(Settings):
    """The BEiT. A size by name; options left empty are those of the size, or of the checkpoint if there is one."""

    size: SizeName | None = None
    """Named size; null: the checkpoint's, or base."""
    image_size: int | None = Field(default=None, ge=1)
    """Side of the input, in pixels; null: the checkpoint's, or 224."""
    patch_size: int | None = Field(default=None, ge=1)
    """Side of a patch, in pixels; null: the checkpoint's, or 16."""
    hidden_size: int | None = Field(default=None, ge=1)
    """Width of the encoder."""
    num_hidden_layers: int | None = Field(default=None, ge=1)
    """Layers of the encoder."""
    num_attention_heads: int | None = Field(default=None, ge=1)
    """Attention heads per layer."""
    intermediate_size: int | None = Field(default=None, ge=1)
    """Width of the feed-forward networks."""
    layer_scale_init_value: float | None = Field(default=None, ge=0)
    """Initial layer scale; 0 for none."""
    positions: Literal["relative", "relative_per_layer", "absolute"] | None = None
    """Positions of patches in a new model: relative position biases, as published (in pre-training one for all layers)
    or of each layer, or learnt absolute embeddings."""
    drop_path_rate: float = Field(default=0.1, ge=0, lt=1)
    """Stochastic depth of the last layer."""
    hidden_dropout_prob: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of hidden states."""
    attention_probs_dropout_prob: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of attention probabilities."""
    image_mean: tuple[float, ...] | None = None
    """Mean per channel; null: the checkpoint's, or 0.5."""
    image_std: tuple[float, ...] | None = None
    """Standard deviation per channel; null: the checkpoint's, or 0.5."""
    crop_share: float = Field(default=0.875, gt=0, le=1)
    """The evaluation crop's share of the picture's shorter side."""

    def __post_init__(self) -> None:
        """Check what divides."""
        if self.image_std is not None and min(self.image_std) <= 0:
            raise ValueError(f"image_std is {list(self.image_std)}; expected numbers above 0")


@dataclass(frozen=True, config=STRICT)
class OptimSettings(Settings):
    """Optimiser and its learning rate: linear warm-up, then a decline."""

    name: Literal["adamw", "muon"] = "adamw"
    """Optimiser; muon takes the weight matrices of the encoder's layers, AdamW everything else, at the same rates."""
    lr: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Peak learning rate. auto: the published one for what learns and what it starts from, scaled by the square root of
    the batch size (docs/recipes.md); resolved when a run begins, and then kept."""
    min_lr: float = Field(default=1e-5, ge=0)
    """Learning rate at the end."""
    decline: Literal["cosine", "linear"] = "cosine"
    """Decline of the learning rate after the warm-up; linear is "poly" with a power of 1."""
    warmup_epochs: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """Length of the warm-up, in epochs; auto: a tenth of the run, at most 10 epochs."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Length of the warm-up, in steps; wins over epochs."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Weight decay; biases, norms, tokens, absolute positions and bias tables have none."""
    weight_decay_end: float | None = Field(default=None, ge=0)
    """Weight decay at the end, reached on a cosine; null keeps it constant."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Adam's decay rates."""
    eps: float = Field(default=1e-8, gt=0)
    """Adam's epsilon."""
    clip_grad: float | None = Field(default=3.0, gt=0)
    """Largest norm of the gradient; null does not clip."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the learning rate from each layer to the one below it."""

    def __post_init__(self) -> None:
        """Check the decay rates."""
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {list(self.betas)}; expected two numbers from 0 to below 1")

    @property
    def peak(self) -> float:
        """The peak learning rate as a number, which auto has become when a run begins.

        Raises:
            ValueError: If it is auto still.
        """
        if self.lr == "auto":
            raise ValueError("optim.lr is auto; expected a number, such as 1e-3, or a run, which resolves it")
        return self.lr


@dataclass(frozen=True, config=STRICT)
class TrainSettings(Settings):
    """Length of the training, and its batches."""

    batch_size: int = Field(default=128, ge=1)
    """Pictures per step, over all processes."""
    epochs: float = Field(default=100, gt=0)
    """Length of the run, in passes over the pictures."""
    max_steps: int | None = Field(default=None, ge=1)
    """Length of the run, in steps; wins over epochs."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that the pictures of a process go through the model in, one after the other, to save memory. Gradients are
    those of the whole; batch norms and hard pixels of a segmentation, and the codebook of VQ-KD, see one part each."""
    recompute: bool = False
    """Keep only what goes into each layer, and compute the rest again in the backward pass: less memory, more time."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the layers of the model for training: a minute at the start, faster steps afterwards. auto: on a GPU that
    Triton knows, unless run.exact is true; true on a CPU gains a tenth in bf16, and little in fp32. Measurements are
    computed as they always are."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Also keep a moving average of the weights with this decay, such as 0.9999; it is saved beside the model."""


@dataclass(frozen=True, config=STRICT)
class ValidationSettings(Settings):
    """Measure held-out pictures while the run works, and keep the model that did best in best/."""

    every: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Steps between two measurements; the last step is measured too. auto: an epoch, or what makes at most 50
    measurements; 0 for none."""
    after: int = Field(default=0, ge=0)
    """Steps before the first measurement, such as those of an annealing."""
    pictures: int = Field(default=2048, ge=1)
    """Most held-out pictures per measurement, at even distances."""


@dataclass(frozen=True, config=STRICT)
class EarlyStopSettings(Settings):
    """Stop when the measurements of held-out pictures no longer gain."""

    patience: int | None = Field(default=None, ge=1)
    """Measurements in a row without a gain after which the run stops; its result is the best model then. null: never,
    and the result is the last one."""
    min_gain: float = Field(default=0.001, ge=0, lt=1)
    """Smallest share by which the best must be improved to count as a gain."""


@dataclass(frozen=True, config=STRICT)
class MonitorSettings(Settings):
    """Measure how good the features of every layer are while the model learns; no training depends on it."""

    every: int | Literal["auto"] = "auto"
    """Steps between two measurements; 0 for none at all. auto keeps them within `share`, at most 50 in a run, of which
    three are in its first interval. Before the first step and after the last there always is one."""
    share: float = Field(default=0.03, gt=0, le=1)
    """Largest share of the run's time that auto spends."""
    pictures: int | None = Field(default=None, ge=2)
    """Most training pictures that are looked at, and half as many held-out ones; null: 2,048, or up to 10,000 to have
    10 per class; in a short run fewer: 0.5 % of the pictures that it sees, but 600, or 3 % if that is less, but 256."""
    k: int = Field(default=10, ge=1)
    """Nearest training pictures that vote on the class of a held-out one."""

    def __post_init__(self) -> None:
        """Check the interval, which may be a word."""
        if self.every != "auto" and self.every < 0:
            raise ValueError(f"every is {self.every}; expected auto, 0 for never, or a number of steps")


@dataclass(frozen=True, config=STRICT)
class KeepBestSettings(Settings):
    """The best model of the run, beside the last."""

    on: Literal["knn", "ridge", "retrieval", "rankme"] | None = None
    """Keep in best/ the model that did best in the monitor: knn and ridge need labels, retrieval is measured without
    them, rankme always; null keeps the last model alone."""


@dataclass(frozen=True, config=STRICT)
class GallerySettings(Settings):
    """Held-out pictures whose hidden patches are predicted again and again, to see the model learn."""

    every: int | None = Field(default=None, ge=1)
    """Steps between two rows of the gallery; null: a tenth of the run. The last step is shown too."""
    pictures: int = Field(default=8, ge=0)
    """Held-out pictures in it, with the same masks all along; 0 leaves the gallery out."""
