"""Text of labels: lists in a cell, and what stands between several labels."""

import pytest

from beit.data.sources.label_text import listed_labels, separator_between
from beit.errors import DataError


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("['cat', 'dog']", ["cat", "dog"]),
        ("['cat' 'dog']", ["cat", "dog"]),
        ('["cat", "dog"]', ["cat", "dog"]),
        ("[1, 2]", [1, 2]),
        ("[]", []),
        ('{"choices": ["cat", "dog"]}', ["cat", "dog"]),
        ('{"a": ["cat"], "b": ["dog"]}', None),
        ("{'cat', 'dog'}", None),
        ("[[1], [2]]", None),
        ("cat", None),
        ("[cat", None),
        ("{[1]: 2}", None),
        ("[cat]", None),
        ("", None),
    ],
)
def test_lists(cell, names):
    assert listed_labels(cell) == names


@pytest.mark.parametrize(
    ("cells", "several", "sign"),
    [
        (["cat;dog", "cat"], False, ";"),
        (["cat,dog"], False, ","),
        (["tench, Tinca tinca", "carp, Cyprinus"], False, None),
        (["cat, dog", "cat", "dog"], False, ","),
        (["sea lion", "cat"], False, None),
        (["cat dog", "cat", "dog"], False, " "),
    ],
)
def test_separators(cells, several, sign):
    assert separator_between("x", cells, several) == sign


def test_what_is_not_clear_is_refused():
    with pytest.raises(DataError, match=r"x has ; and \| in its cells"):
        separator_between("x", ["a;b|c"], several=False)
    with pytest.raises(DataError, match=r"x holds the object .* expected a class, or a list of labels"):
        separator_between("x", ['{"a": 1, "b": 2}'], several=False)
