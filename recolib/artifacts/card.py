"""Model cards: what a model is, what it was made of, how good it is and what it is not for, as Markdown."""

from __future__ import annotations

import inspect
import math
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import torch

from recolib.artifacts.onnx import fingerprint
from recolib.checks import readable
from recolib.data.info import DataInfo
from recolib.data.kinds import kind_of, layout_of
from recolib.data.schema import Field
from recolib.evaluation.metrics import less_is_better
from recolib.files import local_path
from recolib.nn import Network
from recolib.plots import training_curves
from recolib.settings import Settings
from recolib.version import __version__

HIDDEN = ("data_info", "tf_sess_config")
"""Settings that are described elsewhere, or mean nothing."""
SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$#@:])")
"""What Markdown, GitHub's tables, links, mentions and formulas, and HTML take for more than text within a line."""
HEADINGS = re.compile(r"\n(?=[^\n]+\n-{3,}\n)")
FORMULA = re.compile(r"^\.\. math::(.*?)(?:\n\n|\Z)", re.DOTALL | re.MULTILINE)
PANELS_A_ROW = 3


def write_card(settings: Settings, network: Network, history: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write the file that ``Recommender.model_card`` describes.

    Raises
    ------
    ValueError
        If ``path`` is a folder.
    """
    file = local_path(path)
    if file.is_dir():
        raise ValueError(f"path must be a file, and {path} is a folder: give such as {file / 'card.md'}")
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = _draw(history, file)
    parts = [
        _details(settings, network),
        _use(settings),
        _data(settings.data_info),
        _settings(settings),
        _training(history, picture),
        _limits(settings),
        TO_DO,
    ]
    file.write_text("\n\n".join(line for part in parts for line in part) + "\n", "utf-8", newline="\n")
    return file


def shown(value: object) -> str:
    """A text as code, if it is plain, else escaped: as it is, on one line and in one cell of a table."""
    text = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in str(value))
    is_plain = text.strip() and not set("`|\\") & set(text)
    return f"`{text}`" if is_plain else SPECIAL.sub(r"\\\1", text)


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; its cells are Markdown already."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _details(settings: Settings, network: Network) -> list[str]:
    summary, formula, papers = _described(type(settings))
    n_weights = sum(weight.numel() for weight in network.parameters())
    in_tables = sum(weight.numel() for side in network.tables() for one in side for weight in one.parameters())
    facts = [
        ("algorithm", shown(settings.model_name)),
        ("task", settings.task),
        ("weights", f"{n_weights:,} numbers, {in_tables:,} of them in embedding tables"),
        ("SHA-256 of the weights", f"`{fingerprint(network)}`"),
        ("made with", ", ".join(f"{name} {version}" for name, version in _versions().items())),
        ("card written", f"{datetime.now(UTC):%Y-%m-%d}"),
    ]
    return [
        f"# Model card: {settings.model_name}",
        summary,
        *([f"$$\n{formula}\n$$"] if formula else []),
        *([papers] if papers else []),
        "## Model details",
        table(["property", "value"], facts),
        "The checksum is of the weights that predictions are made with. A file is of this model if what `recolib.load` "
        "makes of it has a card with the same one, and a folder of ONNX graphs if it is its `weights_sha256`.",
    ]


def _described(algorithm: type) -> tuple[str, str, str]:
    """An algorithm's first sentence, its formula and its papers, as Markdown, from its docstring."""
    doc = inspect.cleandoc(algorithm.__dict__.get("__doc__") or "")
    if not doc or doc.startswith(f"{algorithm.__name__}("):  # what a dataclass writes where there is none
        return f"{algorithm.__name__}, an algorithm without a description.", "", ""
    head, *sections = HEADINGS.split(doc)
    formula = FORMULA.search(head)
    papers = [part.split("\n", 2)[2] for part in sections if part.startswith("References\n")]
    return (
        " ".join(_plain(head.split("\n\n")[0]).split()),
        "\n".join(line.strip() for line in formula[1].strip().splitlines()) if formula else "",
        " ".join(_plain(papers[0]).split()) if papers else "",
    )


def _plain(text: str) -> str:
    """Markdown of a docstring's text."""
    return text.replace("``", "`")


def _versions() -> dict[str, str]:
    return {
        "recolib": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "Python": platform.python_version(),
    }


def _use(settings: Settings) -> list[str]:
    low, high = (_number(bound) for bound in (settings.lower_bound, settings.upper_bound))
    answers = {
        "rating": f"A prediction is a rating, clipped to {low} … {high}.",
        "ranking": "A prediction is the logistic function of a score: between 0 and 1, and a probability as far as the "
        "loss and the sampled negatives made it one. Its order means more than its size.",
    }
    return [
        "## Intended use",
        "Ordering items for users, and predicting what a user makes of an item, within the population and the "
        f"catalogue that the training data is of. {answers[settings.task]}",
    ]


def _data(info: DataInfo) -> list[str]:
    facts = [
        ("users", f"{info.n_users:,}"),
        ("items", f"{info.n_items:,}"),
        ("rows", f"{info.data_size:,}"),
        ("density", f"{100 * info.density:.4g} %"),
        ("labels", f"{_number(info.labels.low)} to {_number(info.labels.high)}, mean {_number(info.labels.mean)}"),
        ("SHA-256 of columns and vocabularies", f"`{info.fingerprint}`"),
    ]
    columns = [
        (", ".join(map(shown, field.columns)), field.side, field.kind.replace("_", "-"), *_content(field, info))
        for field in info.schema.fields
    ]
    return [
        "## Training data",
        table(["property", "value"], facts),
        "Each line is a field; one of several columns is a group of one vocabulary.",
        table(["columns", "side", "kind", "values", "numbers"], columns),
    ]


def _content(field: Field, info: DataInfo) -> tuple[str, str]:
    """How many values a field has, and the range of its numbers."""
    layout, cells = layout_of(field), np.empty((0, layout_of(field).width), np.float32)
    if field.side != "context":  # of which no table remains
        cells = info.table(field.side).rows.part(layout.part).numpy()[:, info.schema.span(field)]
    facts = kind_of(field).describe(field, info.vocabs.get(field.name), cells)
    slots = f", up to {facts.n_slots} at once" if layout.slots else ""
    known = [(facts.n_values, ""), (facts.n_buckets, " buckets")]
    values = "".join(f"{n:,}{what}{slots}" for n, what in known if n is not None)
    if facts.n_numbers is not None:
        return values, f"{facts.n_numbers} a row"
    low_to_high = "" if facts.range is None else f"{_number(facts.range[0])} to {_number(facts.range[1])}, "
    return values, "" if facts.mean is None else f"{low_to_high}mean {_number(facts.mean)}"


def _settings(settings: Settings) -> list[str]:
    rows: list[tuple[str, str, str]] = []
    for field in fields(settings):
        if field.name in (*HIDDEN, "task"):
            continue
        value, default = getattr(settings, field.name), field.default
        value, default = (tuple(one) if isinstance(one, list) else one for one in (value, default))
        name, said = shown(field.name), shown(readable(value))
        rows.append((name, said, "") if value == default else (f"**{name}**", f"**{said}**", shown(repr(default))))
    return [
        "## Settings",
        "Those in bold are not the defaults. Where the default is None, the first `fit` chose the value, "
        "unless it was given.",
        table(["setting", "value", "default"], rows),
    ]


def _training(history: pd.DataFrame, picture: Path | None) -> list[str]:
    if history.empty:
        return ["## Training and evaluation", "The model has no history."]
    evaluated = [str(name) for name in history if str(name).startswith("eval_")]
    epochs = history["epoch"].astype(int).to_list()
    rows = [_measured(name, history[name].to_numpy(float), epochs) for name in ("train_loss", *evaluated)]
    seconds = f"{len(history):,} epochs took {_number(history['seconds'].to_numpy(float).sum())} seconds. "
    if evaluated:
        measured = (
            "What begins with `eval_` was measured on `eval_data`; a model keeps neither that nor the k of lists."
        )
    else:
        measured = "Nothing was measured on other data than that of training: `fit` had no `eval_data`."
    alt = f"Curves by epoch of {', '.join(('train_loss', *evaluated))}".replace("_", " ")
    return [
        "## Training and evaluation",
        f"{seconds}{measured}",
        table(["measure", f"epoch {epochs[0]}", "best", "in epoch", f"epoch {epochs[-1]}"], rows),
        *([f"![{alt}]({quote(picture.name)})"] if picture else []),
    ]


def _measured(name: str, values: np.ndarray[Any, Any], epochs: Sequence[int]) -> tuple[str, ...]:
    """A measure in the first, the best and the last epoch."""
    first, last = ("" if math.isnan(value) else _number(value) for value in (values[0], values[-1]))
    lower = less_is_better(name)
    if lower is None or np.isnan(values).all():
        return shown(name), first, "", "", last
    best = int(np.nanargmin(values) if lower else np.nanargmax(values))
    return shown(name), first, _number(values[best]), str(epochs[best]), last


def _limits(settings: Settings) -> list[str]:
    info, hidden = settings.data_info, settings.id_dropout_rates
    if not info.user_col + info.item_col:
        features = "This data has none."
    elif any(hidden):
        shares = "users in {:.4g} and items in {:.4g} of the rows".format(*hidden)
        features = f"The model was trained for that: `id_dropout` hid {shares}."
    else:
        features = "The model was not trained for that, for `id_dropout` was 0: prefer `average`."
    cold = (
        "A user or an item that training never saw is answered by the strategy that the caller names. "
        '`cold_start="average"` scores from given features and, where none are, from the mean of what training learnt; '
        '`"popular"` gives everybody the most popular items; `"features"` scores from features alone. '
    )
    rating = "Ratings are of items that users chose to rate: of all others they are guessed with a bias."
    ranking = "Negatives are items that a user did not meet, which is not the same as not liking them."
    lines = [
        cold + features,
        "A value that training never saw is the one unknown value of its column; a missing number is the mean.",
        "The model learnt from what people consumed. What was shown, advertised or easy to find was consumed more "
        "often, and is recommended more often. Look at coverage and novelty, and at groups by the columns above.",
        rating if settings.task == "rating" else ranking,
        "Tastes and catalogues move on. Measure again on new data, and train again when it gets worse.",
    ]
    return ["## Limits", "\n".join(f"* {line}" for line in lines)]


TO_DO = [
    "## To be said by its makers",
    "A model does not know: its owner and whom to ask; the licence of the data and its own; the period and the "
    "population that the data is of; uses that are out of scope; how good it is for each group of people.",
    "The sections follow Mitchell et al., *Model Cards for Model Reporting*, FAT\\* 2019.",
]


def _draw(history: pd.DataFrame, file: Path) -> Path | None:
    """Draw the history beside the card, if it has a course and there is matplotlib."""
    if len(history) < 2:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    n_panels = 1 + sum(str(name).startswith("eval_") for name in history)
    width, height = max(4.0 * min(n_panels, PANELS_A_ROW), 5), 3.0 * math.ceil(n_panels / PANELS_A_ROW)
    picture = file.with_name(f"{file.stem}_history.png")
    training_curves(history, Figure(figsize=(width, height), layout="constrained")).savefig(picture, dpi=120)
    return picture
