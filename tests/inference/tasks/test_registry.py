"""The list of predictor tasks, and what every task of it has to offer."""

from dataclasses import dataclass
from typing import get_type_hints

import pytest

from beit.errors import ConfigError
from beit.inference.tasks.options import Limits, TaskOptions, described
from beit.inference.tasks.registry import TASKS, exported_outputs, task_named, task_options


def test_tasks_stand_under_their_names():
    assert list(TASKS) == [task.name for task in TASKS.values()]
    assert list(TASKS) == ["classify", "segment", "embed", "neighbours", "attend", "features", "reconstruct"]
    assert list(exported_outputs()) == ["classify", "segment", "embed"]
    with pytest.raises(ConfigError, match="task is 'paint'; expected one of classify, segment"):
        task_named("paint")


def test_options_of_one_name_are_alike_everywhere():
    """The command line has one flag for them; attend's layer alone is a plain number."""
    known = {}
    for task, option in task_options():
        if (task, option.name) != ("attend", "layer"):
            assert known.setdefault(option.name, option).kind == option.kind
            assert known[option.name].default == option.default


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_examples_are_of_the_answer_and_the_options(task):
    assert set(task.answer_example) == set(get_type_hints(task.answer_type))
    assert set(task.request_example) <= {option.name for option in described(task.options)}
    assert task.about.endswith(".")


def test_limits_say_what_they_expect():
    assert str(Limits(above=0, most=1)) == "a number above 0, at most 1"
    assert not Limits(above=0).allow(float("nan"))
    assert Limits(least=0).allow(0)
    assert not Limits(above=0).allow(0)


def test_options_know_their_names():
    with pytest.raises(ConfigError, match="classify has no option 'top'; expected top_k"):
        TASKS["classify"].options.of("classify", top=3)
    with pytest.raises(ConfigError, match="embed has no option 'top_k'; expected none"):
        TaskOptions.of("embed", top_k=3)


@dataclass(frozen=True)
class Bare(TaskOptions):
    width: int = 1


def test_an_option_without_a_line_about_it_is_a_mistake():
    with pytest.raises(TypeError, match=r"the option width is annotated .*int.*; expected Annotated"):
        Bare()
