from pathlib import Path

import pytest

from beit.cli.parser import parse_job
from beit.geometry import patch_grid
from beit.training.jobs import DistillJob, FinetuneJob, PretrainJob, TokenizerJob
from beit.training.model import model_config
from beit.training.pretrain import mask_plan

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(FOLDER.glob("pretrain_*.yaml"))
JOBS = {"pretrain": PretrainJob, "tokenizer": TokenizerJob, "vq": DistillJob, "teacher": FinetuneJob}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.stem)
def test_every_recipe_is_one_of_a_job_and_says_what_to_expect(path):
    job = parse_job(JOBS[path.stem.split("_")[0]], "beit", "", [str(path)])
    assert job.run.output == f"runs/{path.stem}"
    about = path.read_text().split("run:")[0]
    assert any(word in about for word in ("Expected", "Published", "Source")), "the result, or where it was published"


def test_there_are_recipes():
    assert len(RECIPES) >= 3


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_complete_and_its_numbers_fit_together(path):
    job = parse_job(PretrainJob, "beit pretrain", "", [str(path)])
    config = model_config(job.model)
    grid = patch_grid(config.image_size, config.patch_size)
    assert mask_plan(job.mask, grid).count / grid.patches == pytest.approx(0.4, abs=0.03), "the paper masks about 40 %"
    assert job.run.output == f"runs/{path.stem}"
