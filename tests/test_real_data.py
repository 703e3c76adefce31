"""What is claimed of real data, where it is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[1] / "examples" / "tutorial.py"
LIBRECOMMENDERS_BEST = 0.6128


def test_librecommenders_tutorial_runs_and_reaches_its_loss(data_home: Path) -> None:
    if not (data_home / "ml1m_sample_merged.csv").exists():
        pytest.skip("ml1m_sample_merged.csv is not in RECOLIB_DATA_HOME")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(TUTORIAL)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"best evaluation log loss: (\d\.\d+)", done.stdout)
    assert found
    assert float(found[1]) <= LIBRECOMMENDERS_BEST
    *_, prediction, of_user, unknown, popular = done.stdout.strip().splitlines()
    assert 0 < float(unknown) < 1
    assert float(prediction) > 0.5
    for line in (of_user, popular):
        items = re.findall(r"\d+", line.split("[")[1])
        assert len(set(items)) == len(items) == 7
