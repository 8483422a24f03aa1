"""The lowest versions that pyproject.toml allows, as constraints for pip: `make lowest` runs the unit tests with them.

    python -m tests.lowest

torch is left out: `constraints.txt` fixes it, because its older builds need another list of packages.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FIXED = {"torch"}


def lowest(pyproject: Path = ROOT / "pyproject.toml") -> dict[str, str]:
    """Return the lowest version of every dependency that users of the package and its extras need."""
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for name, lines in extras.items() if name != "dev" for line in lines)]
    found: dict[str, str] = {}
    for requirement in map(Requirement, wanted):
        bounds = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        if len(bounds) != 1:
            raise ValueError(f"{requirement} in {pyproject} states no lowest version; write it as NAME>=VERSION")
        if found.setdefault(requirement.name, bounds[0]) != bounds[0]:
            raise ValueError(f"{requirement.name} has two lowest versions in {pyproject}; make them one")
    return {name: version for name, version in found.items() if name not in FIXED}


def main() -> None:
    """Print the constraints."""
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(lowest().items()))


if __name__ == "__main__":
    main()
