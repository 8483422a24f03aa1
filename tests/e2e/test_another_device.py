"""Training steps on a device that is not the CPU: no tensor stays behind, and nothing waits for a value.

PyTorch simulates the device: its tensors have shapes, types and places and no values, and an operation refuses tensors
of two places, and a question for a value. It is registered once and for all, so this takes a process of its own.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

REGISTER = "_setup_privateuseone_for_python_backend"
STEPS = """
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration

backend_registration.REGISTER("simulated")
DEVICE, mode = torch.device("simulated:0"), FakeTensorMode(allow_non_fake_inputs=False)

from beit import BeitConfig, BeitForImageClassification, BeitForMaskedImageModeling, BeitForSemanticSegmentation
from beit.engine.interruption import Divergence
from beit.engine.moving_average import MovingAverage
from beit.engine.optimiser import build_optimiser, micro_batches, parameter_groups
from beit.engine.task import Task
from beit.geometry import Grid
from beit.image import Preprocessing
from beit.models_torch import MaskedPatchDecoder, PatchAggregation
from beit.settings.distill import TeacherSettings
from beit.settings.groups import OptimSettings
from beit.settings.segment import HardPixelSettings
from beit.settings.tokenizer import CodebookLossSettings, QuantiserSettings
from beit.tasks.distill import DistillLoss, TeacherOutputs
from beit.tasks.finetune.loss import FinetuneLoss, Targets
from beit.tasks.pretrain.loss import PretrainLoss
from beit.tasks.segment.loss import SegmentLoss
from beit.tasks.segment.model import freeze_unread_layers
from beit.tasks.tokenizer.dvae import DiscreteVAELoss
from beit.tasks.tokenizer.vq_kd import DistillationLoss
from beit.tokenizer import VQKD, DiscreteVAE, DiscreteVAEConfig, TokenEncoder, VQKDConfig
from beit.tokenizer.teacher import BeitTeacher

SMALL = dict(hidden_size=32, num_attention_heads=4, intermediate_size=64, num_hidden_layers=4, image_size=32,
             patch_size=8, layer_norm_eps=1e-6, drop_path_rate=0.1)
OWN, SHARED = {"use_relative_position_bias": True}, {"use_shared_relative_position_bias": True}
ABSOLUTE = {"use_absolute_position_embeddings": True}


def there(tensor):
    with mode:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=DEVICE)


def moved(module):
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(there(parameter), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = there(buffer)
    return module


def step(name, module, tensors, prepare=lambda tensors: tensors, optimiser="adamw", accumulate=2):
    module, tensors = moved(module).train(), {name: there(tensor) for name, tensor in tensors.items()}
    optim = OptimSettings(lr=1e-3, name=optimiser)
    update = build_optimiser(parameter_groups(module, 0.05, 0.9, 4), optim)
    with mode:
        average, divergence = MovingAverage(module.model, 0.9), Divergence(DEVICE)
        for number in range(2):
            for part in micro_batches(prepare(tensors), accumulate):
                values = module(part, 0.5)
                (values["loss"] * Task.count(None, part)).backward()
            divergence.note(number, nn.utils.clip_grad_norm_(module.parameters(), 1.0), values["loss"])
            update.step()
            learnt = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.requires_grad}
            update.zero_grad()
            average.update()
    assert all(grad is not None for grad in learnt.values()), [name for name in learnt if learnt[name] is None]
    assert {value.device for value in values.values()} == {DEVICE}, values
    print(name, flush=True)


CODEBOOK = DiscreteVAEConfig(vocab_size=16, hidden_size=8, blocks_per_group=1, groups=2, decoder_input_size=8)
pixels, masks = torch.zeros(4, 3, 32, 32), (torch.arange(16) < 6).expand(4, 16)
pictures = {"pixel_values": pixels, "bool_masked_pos": masks.contiguous(), "tokenizer_pixels": torch.zeros(4, 3, 8, 8)}


def pretrain(name, options, optimiser="adamw", aggregates=False, decodes=False):
    config = BeitConfig(**SMALL, **options, vocab_size=16, use_mask_token=True, mask_tokens_in_decoder=decodes)
    model, tokenizer = BeitForMaskedImageModeling(config), DiscreteVAE(CODEBOOK)
    encoder = TokenEncoder(tokenizer, "cpu", "fp32")
    moved(tokenizer)
    encoder.device = DEVICE
    beside = PatchAggregation(model, 2, 1) if aggregates else None, MaskedPatchDecoder(model, 1) if decodes else None
    loss = PretrainLoss(model, encoder, 6, *beside)
    step(name, loss, pictures, loss.prepare, optimiser)


pretrain("shared bias", SHARED)
pretrain("own biases, Muon", OWN, "muon")
pretrain("dropout", {**SHARED, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1})
pretrain("aggregation", SHARED, aggregates=True)
pretrain("decoder", ABSOLUTE, decodes=True)

labels = {"pixel_values": pixels, "labels": torch.zeros(4, dtype=torch.int64)}
classifier = BeitForImageClassification(BeitConfig(**SMALL, **OWN, num_labels=5))
targets = Targets("single_label_classification", 5, smoothing=0.1)
step("classes", FinetuneLoss(classifier, torch.ones(5)), labels, lambda tensors: targets(tensors, 0))

for name, hard in (("scenes", None), ("hard pixels", HardPixelSettings(confidence=0.7, least=100))):
    config = BeitConfig(**{**SMALL, "image_size": 64}, **OWN, num_labels=5, out_indices=[1, 2, 3, 4])
    scenes = {"pixel_values": torch.zeros(4, 3, 64, 96), "labels": torch.zeros(4, 64, 96, dtype=torch.int64)}
    model = BeitForSemanticSegmentation(config)
    freeze_unread_layers(model)
    step(name, SegmentLoss(model, torch.ones(5), hard), scenes)

def distilled(name, optimiser="adamw"):
    teacher = BeitForImageClassification(BeitConfig(**SMALL, **OWN, num_labels=5))
    student = BeitForImageClassification(BeitConfig(**SMALL, **OWN, num_labels=5))
    view, wanted = Preprocessing((32, 32), (32, 32)), TeacherSettings(path="", features=1.0, attention=1.0)
    asked = moved(TeacherOutputs(teacher, view, view, [4, 3, 2, 1, 0], wanted))
    step(name, DistillLoss(student, torch.ones(5), False, wanted), labels,
         lambda tensors: {**targets(tensors, 0), **asked(tensors["pixel_values"])}, optimiser)


distilled("distillation")
distilled("distillation, Muon", "muon")


def vq_kd(name, optimiser="adamw", teacher_side=32):
    sizes = {**SMALL, "image_size": teacher_side, "patch_size": teacher_side // 4}
    teacher = BeitForImageClassification(BeitConfig(**sizes, **OWN, num_labels=5))
    asked = moved(BeitTeacher(teacher, (0.5,) * 3, (0.5,) * 3, Grid(4, 4)))
    config = VQKDConfig(vocab_size=16, code_size=8, image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2,
                        num_attention_heads=4, intermediate_size=64, decoder_layers=1, teacher_size=32)
    loss = DistillationLoss(VQKD(config), asked, QuantiserSettings())
    loss.model.quantiser._started = True  # as after the first step, which looks at the codebook
    step(name, loss, {"tokenizer_pixels": pixels}, optimiser=optimiser)


vq_kd("VQ-KD")
vq_kd("VQ-KD, Muon", "muon")
vq_kd("VQ-KD of a smaller teacher", teacher_side=16)
step("discrete VAE", DiscreteVAELoss(DiscreteVAE(CODEBOOK), CodebookLossSettings()), pictures)
"""


@pytest.mark.skipif(not hasattr(backend_registration, REGISTER), reason="this PyTorch simulates no device")
def test_steps_of_training_on_a_simulated_device(tmp_path):
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", STEPS.replace("REGISTER", REGISTER)],
        cwd=tmp_path, env={"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "discrete VAE"
