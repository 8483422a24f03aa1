"""Steps of a GPU, timed: milliseconds, pictures a second, utilisation, peak memory, and the kernels that take longest.

Legend: B batch, N patches, S = 1 + N tokens, D hidden, H heads.
"""

import time
from statistics import median

import torch
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from beit import BeitConfig, BeitForMaskedImageModeling
from beit.engine.compilation import compile_layers
from beit.engine.exactness import computing, placed
from beit.engine.throughput import gemm_rate
from beit.geometry import num_relative_positions
from beit.models_torch.device import wait_for
from beit.models_torch.kernels.table_attention import TableBias, table_attention, whole_bias
from beit.tasks.pretrain.cost import encoding_flops, training_flops
from beit.tasks.pretrain.loss import PretrainLoss
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, TokenEncoder

WARM, KERNELS = 3, 8
PRETRAINING = {"use_mask_token": True, "use_shared_relative_position_bias": True, "layer_norm_eps": 1e-6,
               "drop_path_rate": 0.0}  # fmt: skip  # which implementations draw in their own ways
CLIP = 3.0


def timed(step, device, rounds, picture_count):
    """Return milliseconds and pictures a second of a step, and the peak of the memory meanwhile."""
    for _ in range(WARM):
        step()
    wait_for(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        step()
        wait_for(device)
        seconds.append(time.perf_counter() - began)
    found = {"ms": 1e3 * median(seconds), "images_per_second": picture_count / median(seconds)}
    if device.type == "cuda":
        found["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return {name: round(value, 3) for name, value in found.items()}


def extra_memory(step, device):
    """Return the memory of a GPU that a step takes at its peak beyond what is held before; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    wait_for(device)
    return {"extra_mib": round((torch.cuda.max_memory_allocated(device) - before) / 2**20, 1)}


def attention_ways(config, grid, batch, device):
    """Return steps of the attention of one layer in bf16 by name, with gradients on a GPU; they return the context."""
    torch.manual_seed(0)
    wanted = device.type == "cuda"
    heads, shape_BSD = config.num_attention_heads, (batch, 1 + grid.patches, config.hidden_size)
    parts_BSD = [torch.randn(shape_BSD, device=device).bfloat16().requires_grad_(wanted) for _ in range(3)]
    table_RH = torch.randn(num_relative_positions(grid), heads, device=device, requires_grad=wanted)
    bias = TableBias(table_RH, grid)

    def by_table():
        return table_attention(*parts_BSD, heads, bias)

    def by_all_pairs():
        parts_BHSd = (part_BSD.unflatten(2, (heads, -1)).transpose(1, 2) for part_BSD in parts_BSD)
        bias_HSS = whole_bias(bias).bfloat16()
        context_BHSd = functional.scaled_dot_product_attention(*parts_BHSd, attn_mask=bias_HSS.unsqueeze(0))
        return context_BHSd.transpose(1, 2).flatten(2)

    def step_of_way(way):
        def step():
            with torch.set_grad_enabled(wanted):
                context_BSD = way()
            if wanted:
                torch.autograd.grad(context_BSD, [*parts_BSD, table_RH], torch.ones_like(context_BSD))
            return context_BSD.detach()

        return step

    return {"table": step_of_way(by_table), "all pairs": step_of_way(by_all_pairs)}


def top_kernels(step, device):
    """Return the kernels, on a CPU the operations, that take longest in a step, with their milliseconds."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        step()
        wait_for(device)
    spent = {
        event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e3
        for event in profiler.key_averages()
    }
    longest = sorted(spent, key=lambda key: -spent[key])[:KERNELS]
    return {key[:80]: round(spent[key], 3) for key in longest}


def pretraining_batch(sizes, batch):
    """Return pictures, masks, and pixels of the tokenizer, drawn with a fixed seed."""
    torch.manual_seed(0)
    patches, side = (sizes.side // sizes.patch) ** 2, sizes.side // sizes.patch * sizes.stride
    mask_BN = torch.rand(batch, patches).argsort(dim=1) < sizes.masked
    tensors = {
        "pixel_values": torch.randn(batch, 3, sizes.side, sizes.side),
        "bool_masked_pos": mask_BN,
        "tokenizer_pixels": torch.rand(batch, 3, side, side),
    }
    return {name: tensor.to(sizes.device) for name, tensor in tensors.items()}


def step_of(loss, batch, inputs, device):
    """Return a step of AdamW in bf16: loss, gradients, clipping, update; it returns the loss."""
    optimiser = torch.optim.AdamW(loss.parameters(), lr=1e-4, fused=True)

    def step():
        prepared = inputs(batch)
        with torch.autocast(device.type, torch.bfloat16):
            value = loss(prepared)
        value.backward()
        nn.utils.clip_grad_norm_(loss.parameters(), CLIP)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return value.detach()

    return step


class Pretraining(nn.Module):
    """The scalar loss of a pre-training, of a model with random weights and a tokenizer of OpenAI's size."""

    def __init__(self, sizes, exact=False, compiled=False):
        super().__init__()
        torch.manual_seed(0)
        self.config = BeitConfig(**sizes.model, **PRETRAINING, vocab_size=sizes.tokenizer.get("vocab_size", 8192))
        tokenizer = DiscreteVAE(DiscreteVAEConfig(**sizes.tokenizer))
        side = sizes.side // sizes.patch * sizes.stride
        self.tokenizer_flops = encoding_flops(tokenizer, 3, side, side)
        self.encoder = TokenEncoder(tokenizer, sizes.device, "bf16", compiled and sizes.compiles_whole)
        self.loss = PretrainLoss(BeitForMaskedImageModeling(self.config), self.encoder, sizes.masked)
        placed(self.loss, exact, sizes.device).train()
        if compiled:
            compile_layers(self.loss, sizes.backend)

    def forward(self, prepared):
        return self.loss(prepared)["loss"]


def measure_pretraining(sizes, batch, exact, compiled):
    """Return the numbers of a step with its tokenizer, and with stored tokens."""
    device, found = sizes.device, {}
    with computing(exact, device):
        module = Pretraining(sizes, exact, compiled)
        tensors = pretraining_batch(sizes, batch)
        stored = {**tensors, "visual_tokens": module.encoder(tensors["tokenizer_pixels"])}
        rate = gemm_rate(device, torch.bfloat16)
        model = training_flops(module.config, sizes.masked)
        for name, batch_of, flops in (
            ("with its tokenizer", tensors, model + module.tokenizer_flops),
            ("with stored tokens", stored, model),
        ):
            step = step_of(module, batch_of, module.loss.prepare, device)
            numbers = timed(step, device, sizes.rounds, batch)
            reached = flops * numbers["images_per_second"]
            found[name] = {**numbers, "tflops": round(reached / 1e12, 3), "of_gemm_rate": round(reached / rate, 3)}
        found["kernels"] = top_kernels(step, device)
    return found
