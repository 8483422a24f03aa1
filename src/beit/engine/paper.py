"""Cost of a run on GPUs that are not here, on paper: counted operations, and the numbers of data sheets.

The operations of a picture are counted while some go through the tokenizer here, and through the model without values
or memory (on the meta device), forward and backward. What share of its peak a GPU reaches is not known on paper: one
is assumed, and said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from beit.data import training_batches
from beit.engine.forecast import Cost, check_processes, cost_of
from beit.engine.loop import batch_order
from beit.engine.muon import is_hidden_matrix, iteration_flops
from beit.engine.processes import one_run
from beit.engine.run import build, start
from beit.engine.sharding import without_values
from beit.engine.task import S, Task
from beit.engine.torch_backend import recompute_layers
from beit.errors import ConfigError
from beit.files import read_json

SHARE = 0.4  # of the peak: what well-fed vision transformers reach
ON_A_MACHINE = 8  # GPUs; more are connected by a network
_FEW_PICTURES = 2  # counted; an even number, for those that are mixed in pairs
# bytes moved per parameter: weight, gradient and two moments (Muon has one) are read, all but the gradient written
_UPDATE, _MOMENT, _AVERAGE = 28, 8, 12
_GRADIENT = 4  # bytes
_REDUCED = {"ddp": 2, "fsdp": 3}  # times that the gradients' bytes travel: FSDP also gathers the weights, twice


@dataclass(frozen=True)
class Gpu:
    """A GPU as its maker describes it.

    Attributes:
        bf16: Operations per second in bfloat16, without sparsity; also `tf32` and `fp32`.
        memory: Bytes.
        bandwidth: Bytes per second of its memory.
        link: Bytes per second to the others of its machine, in one direction.
        network: Bytes per second to other machines, as these GPUs usually have it.
        source: Of these numbers.
    """

    bf16: float
    tf32: float
    fp32: float
    memory: float
    bandwidth: float
    link: float
    network: float
    source: str


@dataclass(frozen=True)
class Paper:
    """Estimate of a run.

    Attributes:
        cost: What is known without a GPU.
        gpu: The GPU.
        precision: Of its products: bf16, tf32 or fp32.
        model_flops: Counted operations of a picture, forward and backward.
        preparing_flops: Those of the task's preparation (the tokenizer), of a picture.
        computing: Seconds of a step in them.
        communicating: Seconds that gradients and weights travel, beside the computing.
        updating: Seconds of the optimiser, after it.
        comes_first: Whether a training comes before, which is not in the estimate.
    """

    cost: Cost
    gpu: Gpu
    precision: str
    model_flops: float
    preparing_flops: float
    computing: float
    communicating: float
    updating: float
    comes_first: bool

    @property
    def step(self) -> float:
        """Seconds of a step: communication goes on beside the computing."""
        return max(self.computing, self.communicating) + self.updating

    @property
    def memory(self) -> float:
        """Bytes that are needed on each GPU."""
        return sum(self.cost.memory.values())


def gpu_named(name: str) -> Gpu:
    """Return a GPU of the table.

    Raises:
        ConfigError: If it is not in it.
    """
    table: dict[str, Any] = read_json(Path(__file__).with_name("gpus.json"), "the GPUs of the package")
    found = {key.lower(): value for key, value in table.items()}.get(name.lower())
    if found is None:
        raise ConfigError(f"--device is {name!r}; expected one of {', '.join(table)}")
    return Gpu(**found)


def on_paper(kind: Callable[..., Task[S, Any]], settings: S, gpu: Gpu, processes: int, **parts: Any) -> Paper:
    """Return the estimate of a run, without a step.

    Args:
        kind: The task.
        settings: Its settings.
        gpu: The GPU of each process.
        processes: Their number.
        **parts: Objects that the task takes beside its settings.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures.
    """
    run, given = settings.run, cast(Any, settings)
    precision = "fp32" if run.precision == "fp32" else "bf16"  # as fast as fp16, which a CPU does not count in
    here = replace(given, run=replace(run, device="cpu", precision=precision))
    with one_run(run.output):
        task = kind(here, **parts)
        task.width = None  # the precision is that of the other GPU, and nothing is timed here for it
        start(task, processes)
        check_processes(processes, task.accelerator.num_processes)
        stage = task.first(Path(run.output))
        if stage is not None:
            task.receive(None)
        build(task)
        cost = cost_of(task, on_cpu=False)
        if settings.train.recompute:
            recompute_layers(task.model)  # whose operations are counted too
        model, preparing = counted_flops(task)
        return _estimate(task, cost, gpu, model, preparing, stage is not None)


def counted_flops(task: Task[Any, Any]) -> tuple[float, float]:
    """Return the operations of a picture in the model, forward and backward, and in what prepares it."""
    positions = list(islice(next(iter(batch_order(task, 1, 0, 0, 1))), _FEW_PICTURES))
    batch = next(iter(training_batches(task.dataset, [positions], task.collate, 0)))
    with FlopCounterMode(display=False) as preparing:
        tensors = task.prepare(task.on_device(batch), 0)
    module = without_values(task.module)
    with FlopCounterMode(display=False) as model:
        module({name: tensor.to("meta") for name, tensor in tensors.items()}, 0.0)["loss"].backward()
    pictures = len(batch.indices)
    return model.get_total_flops() / pictures, preparing.get_total_flops() / pictures


def _muons_matrices(task: Task[Any, Any]) -> list[nn.Parameter]:
    """Return the matrices that Muon orthogonalises in every step, in bf16 on a GPU; none where AdamW has all."""
    if task.settings.optim.name != "muon":
        return []
    named = [(name, one) for name, one in task.module.named_parameters() if one.requires_grad]
    return [one for name, one in named if is_hidden_matrix(name, one)]


def _estimate(task: Task[Any, Any], cost: Cost, gpu: Gpu, model: float, preparing: float, comes_first: bool) -> Paper:
    settings, world = task.settings, cost.processes
    half = task.accelerator.mixed_precision == "bf16"
    precision = "bf16" if half else "fp32" if settings.run.exact is True else "tf32"
    pictures = settings.train.batch_size / world
    learnt = sum(parameter.numel() for parameter in task.module.parameters() if parameter.requires_grad)
    held = learnt / world if settings.run.sharding == "fsdp" else learnt
    matrices = _muons_matrices(task)
    moved = held * (_UPDATE + (_AVERAGE if settings.train.ema_decay is not None else 0))
    moved -= _MOMENT * sum(matrix.numel() for matrix in matrices) * held / learnt
    orthogonalising = sum(iteration_flops(*matrix.shape) for matrix in matrices) / (SHARE * gpu.bf16)
    travelling = _REDUCED[settings.run.sharding] * _GRADIENT * learnt * (world - 1) / world
    return Paper(
        cost=cost,
        gpu=gpu,
        precision=precision,
        model_flops=model,
        preparing_flops=preparing,
        computing=pictures * (model + preparing) / (SHARE * getattr(gpu, precision)),
        communicating=travelling / (gpu.link if world <= ON_A_MACHINE else gpu.network),
        updating=moved / gpu.bandwidth + orthogonalising,
        comes_first=comes_first,
    )
