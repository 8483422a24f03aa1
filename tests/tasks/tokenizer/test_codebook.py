"""How the use of a codebook is watched."""

import torch

from beit.tasks.tokenizer.task import CodebookWatch
from beit.tokenizer import count_tokens


def test_a_code_is_dead_after_some_steps_without_use():
    watch = CodebookWatch(4, dead_after=3)
    seen = [watch(torch.tensor([[0, 1], [1, 0]])) for _ in range(4)]
    assert [float(values["dead_codes"]) for values in seen] == [0, 0, 2, 2]
    assert seen[0]["perplexity"].tolist() == [0.5, 0.5, 0, 0], "frequencies, of which the run makes a perplexity"
    assert float(watch(torch.tensor([2]))["dead_codes"]) == 1, "it is used again"


def test_parts_of_a_batch_are_one_step():
    watch = CodebookWatch(4, dead_after=3, parts=2)
    seen = [watch(torch.tensor([part, part])) for _ in range(4) for part in (0, 1)]
    assert [float(values["dead_codes"]) for values in seen] == [0, 0, 0, 0, 0, 2, 2, 2]


def test_evaluation_counts_nothing():
    watch = CodebookWatch(4, dead_after=1).eval()
    assert float(watch(torch.tensor([0]))["dead_codes"]) == 0
    assert watch.unused_steps.tolist() == [0, 0, 0, 0]


def test_its_counts_survive_a_checkpoint():
    watch = CodebookWatch(3, dead_after=2)
    watch(torch.tensor([1]))
    again = CodebookWatch(3, dead_after=2)
    again.load_state_dict(watch.state_dict())
    assert again.unused_steps.tolist() == [1, 0, 1]


def test_counts_stay_where_the_tokens_are():
    counts = count_tokens(torch.tensor([[3, 3], [0, 3]]), 5)
    assert counts.tolist() == [1, 0, 0, 3, 0]
    assert counts.dtype == torch.int64
