from __future__ import annotations

import json

import pytest

from benchmarks import scaling
from benchmarks.lists import refit
from benchmarks.lists.page import LISTS

RESULTS = json.loads(scaling.FILE.read_text("utf-8"))


def test_the_page_has_what_was_measured():
    assert scaling.as_table(RESULTS) in scaling.PAGE.read_text("utf-8")
    kept = json.loads(refit.FILE.read_text("utf-8"))
    assert refit.as_table(kept["found"]) in LISTS.read_text("utf-8")
    assert "ease" in kept["found"]


@pytest.mark.parametrize("one", RESULTS["found"], ids=lambda one: f"{one['way']}-{one['rows']}")
def test_traffic_is_that_of_the_formula(one):
    assert one["traffic"] == pytest.approx(scaling.traffic_bytes(one["way"], one["rows"]), rel=0.1)


def test_rows_that_are_shared_out_need_memory_by_the_number_of_processes():
    of_two, of_four = (scaling.memory_bytes("shared out", 10**9, n) for n in (2, 4))
    vectors = 4 * (scaling.DIM + 1) * 10**9  # with one sum each
    assert of_two - of_four == pytest.approx(vectors / 4)
    assert scaling.traffic_bytes("dense", 10**9) == pytest.approx(4 * (scaling.DIM + 1) * 10**9)


@pytest.mark.parametrize(("n_bytes", "text"), [(12, "12 B"), (1234, "1.2 kB"), (681e6, "681 MB"), (2.7e9, "2.7 GB")])
def test_sizes_have_two_figures(n_bytes, text):
    assert scaling.shown(n_bytes) == text
