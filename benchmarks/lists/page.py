"""The tables and the picture of ``benchmarks.lists``, in ``docs/choosing.md`` and ``docs/list_quality.md``."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from benchmarks.lists.methods import METHODS, OURS, Settings
from benchmarks.lists.runs import FOLDER, Kept, Run, mean, seconds_to
from benchmarks.lists.sets import SETS
from benchmarks.page import filled
from benchmarks.protocol import ROOT
from benchmarks.rounds import significant

CHOOSING, LISTS = ROOT / "docs" / "choosing.md", ROOT / "docs" / "list_quality.md"
TIMED = "ml-1m-random"
"""The data set whose seconds are shown beside the quality on all."""
NEAR_EASE = 0.97
"""The share of EASE's nDCG whose seconds are shown."""
COLORS = {
    "ease": "black", "ials": "tab:gray", "bpr": "tab:brown", "lightgcn": "tab:olive", "librecommender": "tab:pink",
    "fm": "tab:blue", "nfm": "tab:green", "deepfm": "tab:red", "dcnv2": "tab:purple", "finalmlp": "tab:orange",
    "sasrec": "tab:cyan", "als": "magenta",
}  # fmt: skip
MARKERS = {
    "": "s", "defaults": "o", "ids": "o", "columns-defaults": "^", "columns": "^", "items": "D", "recent": "v",
    "items-recent": "v",
}  # fmt: skip
ELSEWHERE = " †"
"""Marks seconds of an accelerator, which are not to be held against those of a processor."""
Results = Mapping[str, Mapping[str, Kept]]
"""By data set, then by method; only what has a run that did not fail."""


def read(folder: Path = FOLDER) -> dict[str, dict[str, Kept]]:
    """All that was measured."""
    found: dict[str, dict[str, Kept]] = {}
    for name in SETS:
        kept = {method: Kept.read(name, method, folder) for method in METHODS}
        found[name] = {method: one for method, one in kept.items() if reported(name, method, one)}
    return found


def reported(data_set: str, method: str, kept: Kept) -> list[Run]:
    """The runs of a method with the chosen settings."""
    return kept.chosen(METHODS[method].tried(data_set))


def of(results: Results, data_set: str, method: str) -> list[Run]:
    """The reported runs; none if it was not measured."""
    kept = results[data_set].get(method)
    return reported(data_set, method, kept) if kept else []


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as Markdown, numbers to the right."""
    lines = [f"| {' | '.join(header)} |", f"|---{'|--:' * (len(header) - 1)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def by_set(results: Results, methods: Sequence[str], shown: Callable[[str, str], str]) -> str:
    """A row for each method with something to show, a column for each data set."""
    rows = [[METHODS[method].title, *(shown(name, method) for name in SETS)] for method in methods]
    return table(["", *(one.title for one in SETS.values())], [row for row in rows if any(row[1:])])


def summary(results: Results) -> str:
    """The quality of all but features with defaults, and the seconds on one data set."""
    methods = [method for method in METHODS if not method.endswith("columns-defaults")]
    first, rule, *rows = quality(results, methods).splitlines()
    timed = {METHODS[method].title: of(results, TIMED, method) for method in methods}
    lines = [f"{first} training, s | lists, s |", f"{rule}--:|--:|"]
    for row in rows:
        runs = timed[row.split(" | ")[0].removeprefix("| ")]
        spent = [seconds(runs, name) for name in ("train_s", "lists_s")]
        lines.append(f"{row} {' | '.join(spent)} |")
    return "\n".join(lines)


def quality(results: Results, methods: Sequence[str] = tuple(METHODS)) -> str:
    """nDCG@10, the best of each data set in bold."""
    measured = {name: {method: mean(of(results, name, method), "ndcg") for method in results[name]} for name in SETS}

    def shown(name: str, method: str) -> str:
        if method not in measured[name]:
            return ""
        text = f"{measured[name][method]:.4f}".removeprefix("0")
        return f"**{text}**" if measured[name][method] == max(measured[name].values()) else text

    return by_set(results, methods, shown)


def seconds(runs: Sequence[Run], name: str) -> str:
    """The mean of some seconds; nothing where there is no run."""
    return marked(mean(runs, name), runs) if runs else ""


def marked(value: float, runs: Sequence[Run]) -> str:
    """Seconds, with a mark where a run was on an accelerator."""
    return significant(value, 2) + ELSEWHERE * any("device" in run for run in runs)


def training(results: Results) -> str:
    """Seconds of training until the moment that validates best."""
    methods = [method for method in METHODS if method != "popular"]
    return by_set(results, methods, lambda name, method: seconds(of(results, name, method), "train_s"))


def near_ease(results: Results) -> str:
    """Seconds until 97 % of EASE's nDCG, of the tried settings that are first there."""

    def shown(name: str, method: str) -> str:
        ease, kept = of(results, name, "ease"), results[name].get(method)
        if not ease or kept is None:
            return ""
        tried = kept.tried(METHODS[method].tried(name))
        spent = seconds_to(tried, NEAR_EASE * mean(ease, "ndcg"))
        return "-" if spent is None else marked(spent, tried)

    return by_set(results, ["ials", *OURS], shown)


def details(results: Results, data_set: str) -> str:
    """All figures of a data set."""
    rows: list[list[str]] = []
    for method, kept in results[data_set].items():
        tried, runs = kept.tried(METHODS[method].tried(data_set)), of(results, data_set, method)
        scores = [run["best"]["ndcg"] for run in runs]
        deviation = f" ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
        rows.append(
            [
                METHODS[method].title,
                f"{statistics.mean(scores):.4f}{deviation}",
                *(f"{mean(runs, name):.3f}" for name in ("recall", "coverage")),
                *(seconds(runs, name) for name in ("train_s", "lists_s")),
                f"{mean(runs, 'peak_mib'):,.0f}",
                str(len(tried)),
                f"`{brief(runs[0]['settings'])}`" if runs[0]["settings"] else "",
            ]
        )
    header = ["", "nDCG@10", "recall@20", "coverage", "training, s", "lists, s", "peak, MiB", "tried", "chosen"]
    return table(header, rows)


def brief(settings: Settings) -> str:
    """Settings in a line."""
    return ", ".join(f"{name}={value}" for name, value in settings.items() if name != "step")


def conditions(results: Results) -> str:
    """Where and with what it was measured."""
    kept = [*chain.from_iterable(one.values() for one in results.values())]
    about = [one.about["machine"] for one in kept]
    loads = [run["load"] for one in kept for run in one.runs]
    threads = sorted({one.about["threads"] for one in kept})
    versions = sorted({f"{key} {value}" for one in kept for key, value in one.about["versions"].items()})
    devices = sorted({run["device"] for one in kept for run in one.runs if "device" in run})
    where = sorted({f"{one['cores']} cores ({one['cpu']}), {one['memory_gib']} GiB" for one in about})
    revisions = ", ".join(sorted({one["revision"] for one in about}))
    return (
        f"Measured with {' or '.join(map(str, threads))} thread on {'; '.join(where)}; load average "
        f"{min(loads):.1f} to {max(loads):.1f}; revisions {revisions}. {', '.join(versions)}."
        + (f"{ELSEWHERE} stands at seconds of {' and '.join(devices)}." if devices else "")
    )


def plot(results: Results, file: Path) -> None:
    """Draw nDCG against seconds of training, a panel for each data set."""
    from matplotlib import rc_context  # all else does without
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    with rc_context({"svg.hashsalt": "recolib", "font.size": 9}):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        for panel, name in zip(figure.subplots(2, 3).flat, SETS, strict=True):
            spent = list[float]()
            for method in results[name]:
                runs = of(results, name, method)
                score = mean(runs, "ndcg")
                if any("device" in run for run in runs):
                    continue
                if method == "popular":
                    panel.axhline(score, color="lightgray", linestyle="--", zorder=0)
                    continue
                family, _, variant = method.partition("-")
                face = "none" if "defaults" in variant else COLORS[family]
                style = {"color": COLORS[family], "marker": MARKERS[variant], "markerfacecolor": face, "ms": 5}
                panel.plot(mean(runs, "train_s"), score, linestyle="", **style)
                spent.append(mean(runs, "train_s"))
            panel.set_title(SETS[name].title, fontsize=9)
            panel.set(xscale="log", xlim=whole_decades(spent or [2]), xlabel="seconds of training", ylabel="nDCG@10")
            panel.grid(alpha=0.3)
        shown = {method.partition("-")[0] for one in results.values() for method in one} - {"popular"}
        names = {
            family: METHODS[family].title if family in METHODS else METHODS[f"{family}-ids"].model for family in shown
        }
        handles = [
            Line2D([], [], linestyle="", marker="s", color=COLORS[family], label=names[family])
            for family in COLORS
            if family in shown
        ]
        hollow = {"linestyle": "", "color": "gray", "markerfacecolor": "none"}
        handles += [
            Line2D([], [], linestyle="--", color="lightgray", label="popular"),
            Line2D([], [], linestyle="", marker="o", color="gray", label="ours, ids"),
            Line2D([], [], linestyle="", marker="^", color="gray", label="ours, features or context"),
            Line2D([], [], linestyle="", marker="D", color="gray", label="ours, and item to item"),
            Line2D([], [], linestyle="", marker="v", color="gray", label="ours, ids in order"),
            Line2D([], [], marker="o", label="hollow: defaults", **hollow),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=150)


def whole_decades(values: Sequence[float]) -> tuple[float, float]:
    """Powers of ten around the values."""
    return 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))


def write_pages(folder: Path = FOLDER, choosing: Path = CHOOSING, lists: Path = LISTS) -> None:
    """Put the tables into the pages, and the picture beside them."""
    results = read(folder)
    picture = lists.with_suffix(".svg")
    plot(results, picture)
    shown = {"quality": summary(results), "plot": f"![nDCG@10 against seconds of training]({picture.name})"}
    choosing.write_text(filled(choosing.read_text("utf-8"), shown), "utf-8")
    contents = {
        "quality": quality(results),
        "seconds": training(results),
        "near EASE": near_ease(results),
        "conditions": conditions(results),
    }
    contents |= {name: details(results, name) for name in SETS}
    lists.write_text(filled(lists.read_text("utf-8"), contents), "utf-8")
