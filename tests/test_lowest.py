"""The lowest versions are those of pyproject.toml, one for each library."""

import pytest

from tests.lowest import lowest


def test_every_dependency_of_users_has_one():
    found = lowest()
    assert {"numpy", "Pillow", "safetensors", "jax", "fastapi", "pydicom"} <= found.keys()
    assert "torch" not in found
    assert "pytest" not in found


@pytest.mark.parametrize(
    ("extra", "said"), [("numpy>=2.1", "numpy has two lowest versions"), ("rich", "rich .* states no lowest version")]
)
def test_what_is_not_clear_is_named(tmp_path, extra, said):
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[project]\ndependencies = ['numpy>=2.0']\n[project.optional-dependencies]\na = ['{extra}']\n")
    with pytest.raises(ValueError, match=said):
        lowest(path)
