from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.histories import PAGE, RESULT, as_tables, keep


def test_tables_have_a_row_for_each_model_and_length() -> None:
    runs = [{"roc_auc": 0.75}, {"roc_auc": 0.77}]
    of_length: dict[str, Any] = {"test": {"hit_rate": 0.1, "ndcg": 0.05}, "epoch": 30}
    tables = as_tables({
        "auc": {"frappe": {"DIN": runs}, "ml-1m": {"DeepFM": runs[:1]}},
        "lengths": {"4000": of_length, "10": of_length},
    })  # fmt: skip
    assert tables["auc"].splitlines() == [
        "| test AUC | frappe | ml-1m |",
        "|---|---|---|",
        "| DeepFM |  | 0.7500 |",
        "| DIN | 0.7600 ± 0.0141 |  |",
    ]
    assert tables["lengths"].splitlines()[2:] == ["| 10 | 0.1000 | 0.0500 | 30 |", "| all | 0.1000 | 0.0500 | 30 |"]


def test_what_was_measured_stands_beside_what_was(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results.json"
    monkeypatch.setattr("benchmarks.histories.RESULT", file)
    keep({"epoch": 1}, "lengths", "10")
    keep([1.0], "auc", "frappe", "DIN")
    keep({"epoch": 2}, "lengths", "20")
    assert json.loads(file.read_text()) == {
        "lengths": {"10": {"epoch": 1}, "20": {"epoch": 2}},
        "auc": {"frappe": {"DIN": [1.0]}},
    }


def test_the_page_has_what_was_measured() -> None:
    page = PAGE.read_text()
    for table in as_tables(json.loads(RESULT.read_text())).values():
        assert table in page
