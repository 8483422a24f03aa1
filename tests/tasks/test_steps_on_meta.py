"""Training steps on the device "meta", which has shapes and no values: nothing waits for a number, or adds up anyhow.

Whatever asks for a value (`item`, a condition on a tensor, a boolean mask as an index) raises on such a device, as it
would make the host wait for a GPU. So would a list or a number that becomes a tensor there, since it is copied from the
host. Such a device takes the kernels of a GPU too; those that PyTorch has in no fixed order, and those that stand in
for them by sorting or writing every number by its index, may not be among them. Models are made there, but steps are
taken with the CPU as the default, as those of a run are: what is drawn without a device lies on the host.
"""

from contextlib import nullcontext

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from beit import BeitConfig, BeitForImageClassification, BeitForMaskedImageModeling, BeitForSemanticSegmentation
from beit.data import Mixing
from beit.engine.exactness import computing
from beit.geometry import Grid
from beit.image import Preprocessing
from beit.models_torch.masked_patch_decoder import MaskedPatchDecoder
from beit.models_torch.patch_aggregation import PatchAggregation
from beit.settings.distill import TeacherSettings
from beit.settings.segment import HardPixelSettings
from beit.settings.tokenizer import CodebookLossSettings, QuantiserSettings
from beit.tasks.distill import DistillLoss, DistillTask, TeacherOutputs
from beit.tasks.finetune.loss import FinetuneLoss, Targets
from beit.tasks.finetune.task import FinetuneTask
from beit.tasks.pretrain.loss import PretrainLoss
from beit.tasks.pretrain.task import PretrainTask
from beit.tasks.segment.loss import SegmentLoss
from beit.tasks.segment.task import SegmentTask
from beit.tasks.tokenizer.dvae import DiscreteVAELoss, DiscreteVAETask
from beit.tasks.tokenizer.vq_kd import DistillationLoss, VQKDTask
from beit.tokenizer import VQKD, DiscreteVAE, DiscreteVAEConfig, TokenEncoder, VQKDConfig, quantiser
from beit.tokenizer.teacher import BeitTeacher

TINY = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64, "patch_size": 4}
RELATIVE = TINY | {"use_relative_position_bias": True}
ABSOLUTE = TINY | {"use_absolute_position_embeddings": True}
CODEBOOK = DiscreteVAEConfig(32, 8, 1, 2, 8)
FORBIDDEN = (
    "nonzero", "_local_scalar_dense", "index_put", "_unsafe_index_put", "upsample_bi", "_adaptive_avg_pool2d_backward",
    "nll_loss2d_forward.sum", "gather_backward", "scatter_add.float", "put", "masked_select", "from the host",
)  # fmt: skip


class Recorded(TorchDispatchMode):
    """Records the names of what is computed; of additions by index the type as well."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function.overloadpacket.__name__
        if name in ("scatter_add", "scatter_add_") and arguments[0].is_floating_point():
            name = "scatter_add.float"
        if name in ("_to_copy", "copy_") and any(one.is_cpu for one in arguments if isinstance(one, torch.Tensor)):
            name = "from the host"
        # forward of `upsample` is of a matrix without gradients: what matters is the way back
        if not (name.startswith("upsample") and "backward" not in name):
            self.names.add(name)
        return function(*arguments, **(named or {}))


class FromHost(TorchFunctionMode):
    """Records what makes a tensor of numbers or lists, which a dispatch mode does not see."""

    def __init__(self, names):
        super().__init__()
        self.names = names

    def __torch_function__(self, function, types, arguments=(), named=None):
        index = arguments[1] if function is torch.Tensor.__getitem__ else ()
        listed = any(isinstance(one, list) for one in (index if isinstance(index, tuple) else (index,)))
        if listed or function in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor):
            self.names.add("from the host")
        return function(*arguments, **(named or {}))


def masked(size):
    patches = (size // 4) ** 2
    return {
        "pixel_values": torch.empty(2, 3, size, size),
        "bool_masked_pos": torch.empty(2, patches, dtype=torch.bool),
        "visual_tokens": torch.empty(2, patches, dtype=torch.long),
    }


def pretraining(options=RELATIVE, size=16, aggregation=False, decoder=False):
    model = BeitForMaskedImageModeling(BeitConfig(**options, image_size=16, vocab_size=32, use_mask_token=True))
    with torch.device("cpu"):
        encoder = TokenEncoder(DiscreteVAE(CODEBOOK))  # not asked: tokens are stored
    parts = PatchAggregation(model, 2) if aggregation else None, MaskedPatchDecoder(model) if decoder else None
    loss = PretrainLoss(model, encoder, 6, *parts)
    return loss, masked(size), loss.prepare


def classification(size=16):
    loss = FinetuneLoss(BeitForImageClassification(BeitConfig(**RELATIVE, image_size=16, num_labels=5)))
    return loss, {
        "pixel_values": torch.empty(2, 3, size, size),
        "targets": torch.empty(2, 5),
        "labels": torch.empty(2, dtype=torch.long),
    }


def labelled():
    return {"pixel_values": torch.empty(2, 3, 16, 16), "labels": torch.empty(2, dtype=torch.long)}


def mixed(mixing):
    loss, _ = classification()
    targets = Targets("single_label_classification", 5, 0.1, mixing)
    return loss, labelled(), lambda tensors: targets(tensors, 0)


def distillation():
    loss, tensors, prepare = mixed(Mixing(mixup=0.8))
    student, wanted = loss.model, TeacherSettings(path="x", features=1.0, attention=1.0)
    teacher, view = mixed(Mixing())[0].model, Preprocessing((16, 16), (16, 16))
    asked = TeacherOutputs(teacher, view, view, [4, 3, 2, 1, 0], wanted)

    def prepared(batch):
        batch = prepare(batch)
        return {**batch, **asked(batch["pixel_values"])}

    return DistillLoss(student, None, False, wanted), tensors, prepared


def segmentation(hard=None):
    config = BeitConfig(**RELATIVE, image_size=32, num_labels=5, out_indices=[1, 2, 3, 4])
    loss = SegmentLoss(BeitForSemanticSegmentation(config), torch.empty(5), HardPixelSettings(confidence=hard))
    return loss, {
        "pixel_values": torch.empty(2, 3, 32, 32),
        "labels": torch.empty(2, 32, 32, dtype=torch.long),
    }


def discrete_vae():
    return DiscreteVAELoss(DiscreteVAE(CODEBOOK), CodebookLossSettings()), {
        "tokenizer_pixels": torch.empty(2, 3, 16, 16)
    }


def vq_kd():
    sizes = TINY | {"num_hidden_layers": 1, "decoder_layers": 1, "image_size": 16, "vocab_size": 32, "code_size": 8}
    model = VQKD(VQKDConfig(**sizes, teacher_size=32))
    model.quantiser._started = True  # as after the first step, which looks at the codebook
    teacher = BeitTeacher(mixed(Mixing())[0].model, (0.5,) * 3, (0.5,) * 3, Grid(4, 4))
    loss = DistillationLoss(model, teacher, QuantiserSettings())
    return loss, {"tokenizer_pixels": torch.empty(2, 3, 16, 16)}


STEPS = {
    "pre-training": pretraining,
    "of another size": lambda: pretraining(size=24),
    "absolute positions of another size": lambda: pretraining(ABSOLUTE, size=24),
    "with patch aggregation": lambda: pretraining(aggregation=True),
    "of visible patches": lambda: pretraining(ABSOLUTE, decoder=True),
    "classification": classification,
    "classification of another size": lambda: classification(24),
    "classification, mixup": lambda: mixed(Mixing(mixup=0.8)),
    "classification, cutmix": lambda: mixed(Mixing(cutmix=1.0)),
    "distillation": distillation,
    "segmentation": segmentation,
    "segmentation, hard pixels": lambda: segmentation(0.7),
    "discrete VAE": discrete_vae,
    "VQ-KD": vq_kd,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("mode", ["deterministic", "any order"])
@pytest.mark.e2e
def test_nothing_waits_or_has_no_order(step, mode, monkeypatch):
    # through page-locked memory, as `test_what_is_sent_to_a_gpu_is_fetched_from_page_locked_memory` holds it
    monkeypatch.setattr(quantiser, "sent", lambda tensor, device: torch.empty_like(tensor, device=device))
    with torch.device("meta"):
        loss, tensors, *prepare = STEPS[step]()
    loss.train()
    exact = computing(exact=True, device=torch.device("cpu")) if mode == "deterministic" else nullcontext()
    with Recorded() as recorded, FromHost(recorded.names), exact:
        for prepared in prepare:
            tensors = prepared(tensors)
        loss(tensors, 0.5)["loss"].backward()
    assert sum(parameter.grad is not None for parameter in loss.parameters()) > 20
    assert len(recorded.names) > 20
    assert sorted(name for name in recorded.names if name.startswith(FORBIDDEN)) == []


@pytest.mark.parametrize(
    "task",
    [PretrainTask, FinetuneTask, DistillTask, SegmentTask, DiscreteVAETask, VQKDTask],
    ids=lambda task: task.title,
)
def test_no_step_waits_for_the_number_of_its_terms(task):
    """Every step weighs its loss by it: a number that is copied to a GPU waits for the steps before."""
    with torch.device("meta"):
        tensors = masked(16) | labelled()
    with Recorded() as recorded, FromHost(recorded.names):
        count = task.count(None, tensors)
    assert (count.shape, count.dtype, count.device.type) == ((), torch.float32, "meta")
    assert "from the host" not in recorded.names
