"""The page and the plot of what was measured: ``python -m benchmarks.page``.

What ``benchmarks.speed TABLE --json benchmarks/results/TABLE.json`` kept is put into ``docs/performance.md``, each
table between the two comments that have its name; all other lines are left alone. The plot is put beside the page.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.protocol import ROOT
from benchmarks.rounds import Row, as_markdown, conditions, summary
from benchmarks.server_table import server_section
from benchmarks.tables import TABLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
GROWTH = "vocabulary", "catalogue"
"""The tables that the plot is of."""
LIMIT = "tab:gray"


def filled(page: str, contents: Mapping[str, str]) -> str:
    """The page with each content between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Raises
    ------
    ValueError
        If the page does not have both comments once, in that order.
    """
    for name, content in contents.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, *rest = page.split(begin)
        after = rest[0].split(end) if len(rest) == 1 else []
        if len(after) != 2:
            raise ValueError(f"the page must have {begin} once, and {end} once after it")
        page = f"{before}{begin}\n\n{content}\n\n{end}{after[1]}"
    return page


def section(name: str, results: Mapping[str, Any]) -> str:
    """A table and where it was measured."""
    return f"{as_markdown(summary(TABLES[name], results))}\n\n{conditions(results)}"


def plot(results: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Draw the time of a step against the vocabulary, and of a list against the catalogue, with what would be ideal."""
    from matplotlib import rc_context  # all else does without
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "recolib", "font.size": 9}):
        figure = Figure(figsize=(8, 3), layout="constrained")
        panels = figure.subplots(1, 2)
        step, call = (summary(TABLES[name], results[name]) for name in GROWTH)
        steps = of_figure(step, "step_ms")
        draw(panels[0], steps, "a step of 1,024 rows")
        ideal = statistics.median(steps[0].values)
        panels[0].axhline(ideal, color=LIMIT, linestyle="--", label="as with the fewest")
        panels[0].set(xlabel="users", ylabel="ms", title="Training step and vocabulary")
        calls, floor = of_figure(call, "call_ms"), of_figure(call, "floor_ms")
        draw(panels[1], calls, "a list for one user")
        panels[1].plot(*points(floor), color=LIMIT, linestyle="--", label="its matrix products alone")
        panels[1].set(xlabel="items", ylabel="ms", title="List and catalogue")
        for panel, rows in zip(panels, (steps, [*floor, *calls]), strict=True):
            panel.set(xscale="log", yscale="log", ylim=whole_decades(rows))
            panel.set_xticks(sorted({*map(size_of, rows)}))
            panel.set_xticks([], minor=True)
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter("{x:,.10g}")
            panel.grid(alpha=0.3)
            panel.legend(frameon=False)
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=150)


def whole_decades(rows: Sequence[Row]) -> tuple[float, float]:
    """Powers of ten around the medians, well apart from them."""
    _, medians = points(rows)
    return 10 ** math.floor(math.log10(min(medians) / 2)), 10 ** math.ceil(math.log10(2 * max(medians)))


def of_figure(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows of one figure."""
    return [row for row in rows if row.figure.name == name]


def size_of(row: Row) -> int:
    """The number that a side is named after: "5,000 users" is 5000."""
    return int(row.side.split()[0].replace(",", ""))


def points(rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """Sizes and medians."""
    return [*map(size_of, rows)], [statistics.median(row.values) for row in rows]


def draw(panel: Axes, rows: Sequence[Row], label: str) -> None:
    """Medians, with bars from the least to the most."""
    sizes, medians = points(rows)
    ends = zip(medians, rows, strict=True)
    below, above = zip(*((middle - min(row.values), max(row.values) - middle) for middle, row in ends), strict=True)
    panel.errorbar(sizes, medians, yerr=[below, above], marker="o", capsize=3, label=label)


def main() -> None:
    """Fill the page with all results that there are, and draw the plot if it has its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the JSON files")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page; the plot is put beside it")
    arguments = parser.parse_args()
    files = {name: arguments.results / f"{name}.json" for name in TABLES}
    results = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    contents = {name: section(name, one) for name, one in results.items()}
    of_server = arguments.results / "server.json"
    if of_server.exists():
        contents["server"] = server_section(json.loads(of_server.read_text()))
    if results.keys() >= {*GROWTH}:
        picture = arguments.page.with_suffix(".svg")
        plot(results, picture)
        contents["plot"] = f"![Time against vocabulary and catalogue]({picture.name})"
    arguments.page.write_text(filled(arguments.page.read_text(), contents))
    print(f"{arguments.page}: {', '.join(contents) or 'no results'}")


if __name__ == "__main__":
    main()
