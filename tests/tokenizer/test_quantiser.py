"""The codebook of VQ-KD: k-means, moving averages, revival, gradients, several processes."""

import math

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn import functional

from beit.tokenizer.quantiser import Quantiser


def unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


def blobs(centres, per_centre, spread=0.05, seed=0):
    """Features around some centres, in random order and of random length."""
    generator = torch.Generator().manual_seed(seed)
    points = centres.repeat(per_centre, 1)
    points = unit(points + spread * torch.randn(points.shape, generator=generator))
    points = points * torch.empty(len(points), 1).uniform_(0.5, 3, generator=generator)
    return points[torch.randperm(len(points), generator=generator)]


def started(vocab_size=5, code_size=3, **options):
    """A quantiser whose codes are random and need no k-means."""
    quantiser = Quantiser(vocab_size, code_size, **options)
    quantiser.initialised.fill_(True)
    return quantiser


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_tokens_are_the_largest_cosine_whatever_the_length():
    quantiser, features = started(50, 4).eval(), torch.randn(3, 5, 7, 4)
    cosines = torch.einsum("bhwe,ve->bhwv", unit(features.double()), quantiser.codebook.double())
    codes, tokens, _, revived = quantiser(features * torch.rand(3, 5, 7, 1))
    assert tokens.dtype == torch.int64
    assert torch.equal(tokens, cosines.argmax(-1))
    assert torch.equal(codes, quantiser.codebook[tokens])
    assert torch.equal(quantiser.lookup(tokens), codes)
    assert revived == 0


def test_many_features_are_compared_in_chunks(monkeypatch):
    quantiser, features = started(20, 4, revive_below=0), torch.randn(100, 4)
    other = started(20, 4, revive_below=0)
    other.load_state_dict(quantiser.state_dict())
    whole = quantiser(features)
    monkeypatch.setattr("beit.tokenizer.quantiser._CHUNK", 7)
    pieces = other(features)
    assert torch.equal(whole.tokens, pieces.tokens)
    torch.testing.assert_close(other.codebook, quantiser.codebook)
    assert torch.equal(other.cluster_size, quantiser.cluster_size)


def test_commitment_is_the_mean_squared_distance_to_the_code():
    quantiser, features = started(commitment=2.5).eval(), torch.randn(2, 4, 4, 3)
    _, tokens, commitment, _ = quantiser(features)
    expected = 2.5 * ((unit(features) - quantiser.codebook[tokens]) ** 2).mean()
    torch.testing.assert_close(commitment, expected)


def test_gradients_pass_to_the_normalised_features():
    """As if nothing had been quantised; the codes are no parameters and get none."""
    quantiser, weights = started(), torch.randn(6, 3)
    through, around = (torch.randn(6, 3).requires_grad_() for _ in range(2))
    around.data.copy_(through.data)
    (quantiser(through).codes * weights).sum().backward()
    (functional.normalize(around, dim=-1) * weights).sum().backward()
    assert torch.equal(through.grad, around.grad)
    assert list(quantiser.parameters()) == []
    assert not quantiser.codebook.requires_grad


def test_the_commitment_pulls_features_to_codes():
    quantiser, features = started().eval(), torch.randn(6, 3, requires_grad=True)
    _, tokens, commitment, _ = quantiser(features)
    commitment.backward()
    around = features.detach().clone().requires_grad_()
    ((functional.normalize(around, dim=-1) - quantiser.codebook[tokens]) ** 2).mean().backward()
    torch.testing.assert_close(features.grad, around.grad)


def test_moving_averages_against_the_formula_written_out():
    """The published update, one code after the other in double precision, for three steps."""
    decay, vocab = 0.9, 5
    quantiser = started(vocab, 3, decay=decay, revive_below=0)
    codes = quantiser.codebook.double()
    sizes = [8 / vocab] * vocab  # before anything is counted: the uniform share of 8 features
    for step in range(3):
        features = torch.randn(8, 3)
        tokens = [int(torch.argmax(codes @ unit(feature.double()))) for feature in features]
        found = quantiser(features)
        assert found.tokens.tolist() == tokens, step
        for code in range(vocab):
            mine = [unit(feature.double()) for feature, token in zip(features, tokens, strict=True) if token == code]
            sizes[code] = decay * sizes[code] + (1 - decay) * len(mine)
            if mine:
                codes[code] = unit(decay * codes[code] + (1 - decay) * unit(sum(mine) / len(mine)))
        torch.testing.assert_close(quantiser.codebook.double(), codes, atol=1e-6, rtol=0)
        assert quantiser.cluster_size.tolist() == pytest.approx(sizes, rel=1e-5)


def test_codes_that_nobody_chose_stay_bit_for_bit():
    quantiser, features = started(30, 3, revive_below=0), torch.randn(6, 3)
    before = quantiser.codebook.clone()
    tokens = quantiser(features).tokens
    chosen = torch.zeros(30, dtype=torch.bool).index_fill(0, tokens, True)
    assert torch.equal(quantiser.codebook[~chosen], before[~chosen])
    assert not (quantiser.codebook[chosen] == before[chosen]).all(1).any()


def test_in_evaluation_nothing_moves():
    quantiser = Quantiser(5, 3).eval()
    before = {name: tensor.clone() for name, tensor in quantiser.state_dict().items()}
    quantiser(torch.randn(9, 3))
    quantiser.train().tokens(torch.randn(9, 3))
    assert all(torch.equal(tensor, before[name]) for name, tensor in quantiser.state_dict().items())


def test_kmeans_finds_the_blobs_in_the_first_step():
    centres = torch.eye(8)
    quantiser = Quantiser(32, 8)
    tokens = quantiser(blobs(centres, 40)).tokens
    assert quantiser.initialised
    nearest = (quantiser.codebook @ centres.T).max(0).values
    assert nearest.min() > 0.99
    assert len(tokens.unique()) > 8


def test_kmeans_is_a_function_of_the_seed():
    features, books = blobs(torch.eye(8), 40), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        quantiser = Quantiser(32, 8)
        quantiser(features)
        books.append(quantiser.codebook)
    assert torch.equal(books[0], books[1])
    assert not torch.equal(books[0], books[2])


def test_kmeans_with_fewer_features_than_codes():
    quantiser, features = Quantiser(10, 3), torch.randn(4, 3)
    quantiser(features)
    torch.testing.assert_close(quantiser.codebook.norm(dim=1), torch.ones(10))
    assert (quantiser.codebook @ unit(features).T).max(1).values.min() > 0.999


def collapsed(**options):
    """A codebook of which one code takes all features, because the others are far from any."""
    quantiser = started(16, 8, **options)
    quantiser.codebook.copy_(functional.normalize(0.1 * torch.randn(16, 8) - 1, dim=1))
    quantiser.codebook[0] = torch.eye(8)[0]
    return quantiser


def used_after(steps, **options):
    torch.manual_seed(3)
    quantiser = collapsed(**options)
    revived = 0
    for step in range(steps):
        revived += int(quantiser(blobs(torch.eye(8), 8, seed=step)).revived)
    tokens = quantiser.tokens(blobs(torch.eye(8), 8, seed=1000))
    return len(tokens.unique()), revived, quantiser


def test_dead_codes_are_revived_and_used():
    without, none, _ = used_after(60, decay=0.9, revive_below=0)
    with_revival, some, quantiser = used_after(60, decay=0.9, revive_below=0.05)
    assert none == 0
    assert some > 0
    assert with_revival >= 12 > without
    # each of the eight kinds of features has got a code of its own
    assert (quantiser.codebook @ torch.eye(8)).max(0).values.min() > 0.9
    torch.testing.assert_close(quantiser.codebook.norm(dim=1), torch.ones(16))


def test_revival_is_a_function_of_the_seed():
    first, second = (used_after(40, decay=0.9, revive_below=0.05)[2] for _ in range(2))
    assert torch.equal(first.codebook, second.codebook)
    assert torch.equal(first.cluster_size, second.cluster_size)


def test_a_dead_code_gets_a_feature_of_the_batch_and_time_to_prove_itself():
    quantiser = started(4, 3, decay=0.9, revive_below=0.1)
    quantiser.codebook.copy_(torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, -1, 0], [0, 0, -1]]))
    features = torch.tensor([[2.0, 0.1, 0], [3, 0, 0.1], [1, 0.1, 0.1]])
    steps = math.ceil(math.log(0.1) / math.log(0.9))
    for _ in range(steps - 1):
        assert quantiser(features).revived == 0
    assert quantiser(features).revived == 3
    cosines = quantiser.codebook[1:] @ unit(features).T
    assert cosines.max(1).values.tolist() == pytest.approx([1, 1, 1])
    assert sorted(cosines.argmax(1).tolist()) == [0, 1, 2]  # a different feature each
    assert quantiser.cluster_size[1:].tolist() == pytest.approx([3 / 4] * 3)


def test_a_feature_revives_one_code_at_most_and_the_others_wait():
    quantiser, features = started(10, 3, revive_below=0.5), torch.randn(4, 3)
    quantiser.cluster_size.fill_(1e-6)
    used = len(quantiser.tokens(features).unique())
    assert quantiser(features).revived == 4
    assert used < 6
    assert quantiser(features).revived == 4


def test_codes_of_unknown_use_are_not_dead():
    """A published file may hold zeros: the original training sets them back before each epoch."""
    assert started(10, 3, revive_below=0.9)(torch.randn(4, 3)).revived == 0


def test_under_autocast_the_codes_are_found_in_float32():
    quantiser, features = started(200, 8).eval(), torch.randn(64, 8)
    expected = quantiser(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = quantiser(features)
    assert torch.equal(found.tokens, expected.tokens)
    assert found.commitment.dtype == torch.float32
    assert torch.equal(found.commitment, expected.commitment)


def test_half_precision_features():
    quantiser, features = started(20, 8).eval(), torch.randn(64, 8).bfloat16()
    found = quantiser(features)
    assert found.codes.dtype == torch.bfloat16
    assert torch.equal(found.tokens, quantiser(features.float()).tokens)


def test_a_saved_codebook_goes_on_bit_for_bit():
    first = Quantiser(16, 8, decay=0.9, revive_below=0.3)
    for step in range(10):
        first(blobs(torch.eye(8), 8, seed=step))
    second = Quantiser(16, 8, decay=0.9, revive_below=0.3)
    second.load_state_dict(first.state_dict())
    books = []
    for quantiser in (first, second):
        torch.manual_seed(5)
        for step in range(10, 20):
            quantiser(blobs(torch.eye(8), 8, seed=step))
        books.append(quantiser.state_dict())
    assert all(torch.equal(books[0][name], books[1][name]) for name in books[0])


# --- Several processes


def shares(rank):
    """The features of each step that a process sees; their numbers differ."""
    for step in range(12):
        yield blobs(torch.eye(8), 8, seed=step).split([40, 24])[rank]


def trained_in_two(rank, folder):
    """One of two processes: a codebook that starts by k-means and revives, and one that only follows."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(100 + rank)
    alive = Quantiser(48, 8, decay=0.8, revive_below=0.3)
    revived = sum(int(alive(features).revived) for features in shares(rank))
    torch.manual_seed(7)
    follower = started(16, 8, revive_below=0)
    for features in shares(rank):
        follower(features)
    torch.save((alive.state_dict(), revived, follower.state_dict()), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.e2e
def test_two_processes_keep_one_codebook(tmp_path):
    multiprocessing.spawn(trained_in_two, (tmp_path,), nprocs=2)
    (alive, revived, follower), (alive_too, revived_too, follower_too) = (
        torch.load(tmp_path / f"{rank}.pt") for rank in range(2)
    )
    assert revived == revived_too > 0
    assert all(torch.equal(alive[name], alive_too[name]) for name in alive)
    assert all(torch.equal(follower[name], follower_too[name]) for name in follower)
    torch.manual_seed(7)
    alone = started(16, 8, revive_below=0)
    for step in range(12):
        alone(blobs(torch.eye(8), 8, seed=step))
    torch.testing.assert_close(follower["codebook"], alone.codebook)
    torch.testing.assert_close(follower["cluster_size"], alone.cluster_size)
