"""A bias that is read from its table is the bias of all pairs of tokens."""

import pytest
import torch
from torch.nn import functional

from beit import BeitConfig, BeitForImageClassification
from beit.geometry import Grid, num_relative_positions, relative_position_index
from beit.models_torch import kernels
from beit.models_torch.kernels import table_attention as module
from beit.models_torch.kernels.table_attention import (
    TableBias,
    fastest_reads_table,
    reads_table,
    table_attention,
    table_row,
    whole_bias,
)
from tests.conftest import TINY_MODEL

HEADS, WIDTH = 2, 32
GRIDS = [Grid(4, 4), Grid(3, 5), Grid(1, 7)]


def operands(grid, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(2, 1 + grid.patches, WIDTH, generator=generator) for _ in range(3)]
    return [*parts, TableBias(torch.randn(num_relative_positions(grid), HEADS, generator=generator), grid)]


def by_head(part):
    return part.unflatten(2, (HEADS, -1)).transpose(1, 2)


def explicit(query, key, value, bias):
    """The formula, with the bias looked up by the published index."""
    index = torch.from_numpy(relative_position_index(bias.grid))
    bias_HSS = functional.embedding(index, bias.table_RH).permute(2, 0, 1)
    scores = by_head(query) @ by_head(key).mT * (WIDTH // HEADS) ** -0.5 + bias_HSS
    return (scores.softmax(-1) @ by_head(value)).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_rows_are_those_of_the_index(grid):
    tokens = torch.arange(1 + grid.patches)
    rows = table_row(tokens[:, None], tokens[None, :], *grid)
    assert torch.equal(rows, torch.from_numpy(relative_position_index(grid)))


@pytest.mark.e2e
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_context_is_that_of_the_formula(grid):
    given = operands(grid)
    with torch.no_grad():
        context = table_attention(*given[:3], HEADS, given[3])
    torch.testing.assert_close(context, explicit(*given), atol=1e-5, rtol=1e-5)


def test_gradients_of_the_table_are_those_of_the_look_up():
    """PyTorch's kernel has no backward pass on a CPU, so its score function is tried in the formula."""
    grid = GRIDS[1]
    *parts, bias = operands(grid)
    found = []
    for compute in (explicit, lambda *given: explicit_by_row(*given)):
        table = bias.table_RH.clone().requires_grad_()
        compute(*parts, bias._replace(table_RH=table)).square().sum().backward()
        found.append(table.grad)
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-5)


def explicit_by_row(query, key, value, bias):
    scores = by_head(query) @ by_head(key).mT * (WIDTH // HEADS) ** -0.5 + whole_bias(bias)
    return (scores.softmax(-1) @ by_head(value)).transpose(1, 2).flatten(2)


@pytest.mark.e2e
@pytest.mark.parametrize("size", [(32, 32), (48, 24)], ids=["own size", "another size"])
def test_a_model_that_reads_tables_has_the_same_outputs(monkeypatch, size):
    """Without an index of all pairs, with pruned heads, and at a size that the tables are stretched to."""
    torch.manual_seed(0)
    config = BeitConfig(**TINY_MODEL, use_relative_position_bias=True, drop_path_rate=0.0, pruned_heads={1: [0]})
    model = BeitForImageClassification(config).train()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    pixels, asked = torch.randn(2, 3, *size), []

    def reads(tokens, heads, grid):
        asked.append((tokens.shape[1], heads, grid))
        return True

    with torch.no_grad():
        wanted = model(pixels).logits
        monkeypatch.setattr(kernels, "reads_table", reads)
        monkeypatch.setattr("beit.models_torch.encoder.position_index", lambda *given: pytest.fail("all pairs"))
        found = model(pixels).logits
    assert asked
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_maps_and_measurements_need_the_whole_bias(monkeypatch):
    config = BeitConfig(**TINY_MODEL, use_relative_position_bias=True)
    model = BeitForImageClassification(config).train()
    monkeypatch.setattr(kernels, "reads_table", lambda *given: pytest.fail("asked"))
    pixels = torch.randn(1, 3, 32, 32)
    assert model(pixels, output_attentions=True).attentions[0] is not None
    model(pixels, head_mask=torch.ones(config.num_hidden_layers, config.num_attention_heads))
    model.eval()(pixels)


def test_dropout_that_is_set_later_needs_the_whole_bias(monkeypatch):
    model = BeitForImageClassification(BeitConfig(**TINY_MODEL, use_relative_position_bias=True)).train()
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.1
    monkeypatch.setattr(kernels, "reads_table", lambda *given: pytest.fail("asked"))
    model(torch.randn(1, 3, 32, 32))


def test_nothing_is_read_from_a_table_on_a_cpu():
    tokens = torch.zeros(1, 1601, WIDTH, requires_grad=True)
    assert not reads_table(tokens, HEADS, Grid(40, 40))
    assert not reads_table(tokens.to("meta"), HEADS, Grid(40, 40))


@pytest.fixture
def timed(monkeypatch):
    """Seconds that the ways take, by name; the ways are called with their operands once."""
    seconds = {}

    def way(name, ways, operands):
        assert name.startswith("bias of attention 2 x 3 x 5 x 16 float32 on cpu")
        ways["torch"](*operands())
        return min(seconds, key=seconds.get)

    monkeypatch.setattr(module.FASTEST, "way", way)
    monkeypatch.setattr(module, "_BROKEN", {})
    monkeypatch.setattr(module, "_FITTING", {})
    return seconds


def choose():
    return fastest_reads_table((4, 16, WIDTH), HEADS, GRIDS[1], torch.float32, torch.device("cpu"))


def test_the_faster_way_is_taken(timed, monkeypatch):
    monkeypatch.setattr(module, "_time_table", lambda *given: None)
    timed.update(torch=1.0, table=0.5)
    assert choose()
    timed.update(table=1.5)
    assert not choose()


def test_a_kernel_that_does_not_work_is_tried_once_and_left_out(timed, caplog):
    """On a CPU it has no gradient."""
    timed.update(torch=1.0, table=0.5)
    for _ in range(2):
        assert not choose()
    [record] = caplog.records
    assert "is not read from its table: FlexAttention does not support backward on CPU" in record.getMessage()


def test_smaller_tiles_are_tried_where_a_gpu_has_no_room_for_larger_ones(timed, monkeypatch, caplog):
    """As on an H200: 245,760 bytes of shared memory are required, and 232,448 are there."""
    timed.update(torch=1.0, table=0.5)
    asked = []

    def time_table(query, key, value, heads, bias):
        asked.append(module._FITTING.get((query.dtype, 16), 0))
        if asked[-1] < 2:
            raise RuntimeError("No valid triton configs. OutOfMemoryError: out of resource: triton_tem_fused")

    monkeypatch.setattr(module, "_time_table", time_table)
    assert choose()
    assert choose()
    assert asked == [0, 1, 2]
    assert not caplog.records


def test_no_tiles_fit(timed, monkeypatch, caplog):
    def time_table(*given):
        raise RuntimeError("out of resource: shared memory")

    monkeypatch.setattr(module, "_time_table", time_table)
    assert not choose()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("tiles", range(len(module._TILES)))
def test_tiles_change_no_value(tiles, monkeypatch):
    torch.manual_seed(0)
    parts = [torch.randn(2, 16, WIDTH) for _ in range(3)]
    bias = TableBias(torch.randn(num_relative_positions(GRIDS[1]), HEADS), GRIDS[1])
    wanted = table_attention(*parts, HEADS, bias)
    monkeypatch.setattr(module, "_FITTING", {(torch.float32, WIDTH // HEADS): tiles})
    assert torch.equal(table_attention(*parts, HEADS, bias), wanted)
