"""The oldest versions that pyproject.toml allows, as constraints for pip: ``python tests/oldest.py test``.

Each argument is an extra. A package that several lists name gets the highest of their floors.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
REQUIREMENT = re.compile(r"(?P<name>[\w-]+)(\[[\w,-]+\])?(>=|==)(?P<version>[\d.]+)")


def requirements(extras: Sequence[str]) -> Iterator[str]:
    """Requirements of recolib and of the extras, those of recolib's own extras in their place."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    waiting = [*project["dependencies"], *(f"recolib[{extra}]" for extra in extras)]
    while waiting:
        requirement = waiting.pop()
        if requirement.startswith("recolib["):
            for extra in requirement.removeprefix("recolib[").removesuffix("]").split(","):
                waiting.extend(project["optional-dependencies"][extra.strip()])
        else:
            yield requirement


def oldest(extras: Sequence[str]) -> dict[str, str]:
    """The lowest version allowed of each package."""
    floors: dict[str, str] = {}
    for requirement in requirements(extras):
        match = REQUIREMENT.fullmatch(requirement)
        if match is None:
            raise ValueError(f"a requirement needs a floor, as in 'numpy>=1.26', got {requirement!r}")
        name, version = match["name"].lower(), match["version"]
        floors[name] = max(floors.get(name, version), version, key=lambda v: [int(part) for part in v.split(".")])
    return floors


if __name__ == "__main__":
    for name, version in sorted(oldest(sys.argv[1:]).items()):
        print(f"{name}=={version}")
