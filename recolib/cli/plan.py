"""The plan: which column is what, and which model is trained; inferred, written as TOML, read again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from recolib.checks import check_choice, check_names
from recolib.cli.tables import column, numeric

Task = Literal["ranking", "rating"]
FeatureSide = Literal["user", "item", "context"]
FeatureKind = Literal["sparse", "dense", "multi_sparse", "vector", "display", "ignore"]
ROLES = "user", "item", "label", "time"
FEATURE = "side", "kind", "separator", "group", "n_buckets"
"""What a plan says of a feature."""
HEAD = """\
# Which column is what, and which model is trained. Edit it, and give it again: recolib fit DATA --plan THIS.
#
# side: user, item, or context (of the event: the request brings it)
# kind: sparse        categories
#       dense         numbers
#       multi_sparse  several categories: lists, text with a separator, or a group of columns
#       vector        lists of as many numbers each, such as embeddings
#       display       shown, not learnt from; items alone
#       ignore
# n_buckets: of a column of very many categories, how many buckets they are hashed to
"""


@dataclass(frozen=True)
class FeatureColumn:
    """What a column is.

    Attributes
    ----------
    side, kind
        As the file says them.
    separator
        What stands between the values of a text; None where it is one value, or a list.
    group
        The name of the group of columns that it belongs to; None where it stands alone.
    n_buckets
        How many buckets its categories are hashed to; None where they have a vocabulary.
    """

    side: FeatureSide
    kind: FeatureKind
    separator: str | None = None
    group: str | None = None
    n_buckets: int | None = None


@dataclass(frozen=True)
class Plan:
    """What ``recolib fit`` does.

    Attributes
    ----------
    columns
        The names in the data of ``user``, ``item``, and possibly ``label`` and ``time``.
    features
        What each further column is.
    task
        ``"ranking"`` makes lists of what users would choose, ``"rating"`` predicts labels.
    liked
        For ranking: from which label on an item was liked. None: labels above 0.
    algorithm, settings
        The model.
    """

    columns: Mapping[str, str]
    features: Mapping[str, FeatureColumn] = field(default_factory=dict[str, FeatureColumn])
    task: Task = "ranking"
    liked: float | None = None
    algorithm: str = "FM"
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def rows(self) -> list[dict[str, object]]:
        """A row for each column, to be shown."""
        roles: list[dict[str, object]] = [{"column": name, "is": role} for role, name in self.columns.items()]
        return roles + [
            {"column": name, "is": one.kind, "of": one.side, "with": one.group or one.separator or ""}
            for name, one in self.features.items()
        ]

    def prepared(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A frame of the data with the names and labels that models know.

        Raises
        ------
        ValueError
            If a column is missing, or a label that says what was liked.
        """
        names = [*self.columns.values(), *(name for name, one in self.features.items() if one.kind != "ignore")]
        needed = [name for name in names if name != self.columns.get("label") or self.task == "rating"]
        absent = [name for name in needed if name not in frame.columns]
        if absent:
            raise ValueError(f"columns {absent} are not in the data: {frame.columns.tolist()}")
        frame = pd.DataFrame({name: frame[name] for name in names if name in frame.columns})
        for name, one in self.features.items():
            if one.separator is not None and one.kind == "multi_sparse":
                frame[name] = [parts_of(value, one.separator) for value in frame[name]]
        frame = frame.rename(columns={name: role for role, name in self.columns.items()})
        if self.task == "ranking" and self.liked is not None and "label" in frame.columns:
            labels, name = numeric(column(frame, "label")), self.columns["label"]
            if labels.hasnans:
                n_missing = int(labels.isna().sum())
                raise ValueError(f"column {name!r} has {n_missing} missing values: fill them, or leave these rows out")
            frame["label"] = np.asarray(labels >= self.liked).astype(np.int64)
        return frame

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``DatasetFeat.build_trainset`` beside the frame."""
        used = {name: one for name, one in self.features.items() if one.kind not in ("ignore", "display")}
        groups: dict[str, list[str]] = {}
        for name, one in used.items():
            if one.kind == "multi_sparse" and one.group is not None:
                groups.setdefault(one.group, []).append(name)
        others = [name for names in groups.values() for name in names[1:]]  # a group goes by its first column
        n_buckets = {name: n for name, one in used.items() if (n := one.n_buckets) is not None and name not in others}
        alone = [name for name, one in used.items() if one.kind == "multi_sparse" and one.group is None]
        return {
            **{
                f"{side}_col": [name for name, one in used.items() if one.side == side]
                for side in get_args(FeatureSide)
            },
            **{
                f"{kind}_col": [name for name, one in used.items() if one.kind == kind]
                for kind in ("sparse", "dense", "vector")
            },
            "multi_sparse_col": [*alone, *groups.values()],
            "display_col": [name for name, one in self.features.items() if one.kind == "display"],
            "consumed": "all" if self.liked is not None else None,
            "encoding": dict.fromkeys(n_buckets, "hash"),
            "n_buckets": n_buckets or None,
        }

    def write(self, file: Path) -> Path:
        """Write it as TOML."""
        lines = [HEAD, f"task = {quoted(self.task)}"]
        lines += [] if self.liked is None else [f"liked = {self.liked!r}"]
        lines += ["", "[columns]", *(f"{role} = {quoted(name)}" for role, name in self.columns.items())]
        lines += ["", "[features]"]
        for name, one in self.features.items():
            about = {name: getattr(one, name) for name in FEATURE}
            parts = ", ".join(f"{key} = {quoted(value)}" for key, value in about.items() if value is not None)
            lines.append(f"{quoted(name)} = {{ {parts} }}")
        lines += ["", "[model]", f"algorithm = {quoted(self.algorithm)}"]
        lines += [f"{name} = {quoted(value)}" for name, value in self.settings.items()]
        file.write_text("\n".join(lines) + "\n", "utf-8")
        return file

    @classmethod
    def read(cls, file: Path) -> Plan:
        """Read what ``write`` wrote, or somebody edited.

        Raises
        ------
        ValueError
            If it is no TOML, or says what no plan says.
        """
        try:
            content = tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is no TOML: {error}") from None
        check_names(content, ["task", "liked", "columns", "features", "model"], f"a part of the plan {file}")
        columns, features = _section(content, "columns", file), _section(content, "features", file)
        check_names(columns, ROLES, f"a role in the plan {file}")
        if not {"user", "item"} <= columns.keys() or not all(isinstance(one, str) for one in columns.values()):
            raise ValueError(f"[columns] of {file} must name the columns of user and item, got {columns}")
        liked = content.get("liked")
        if liked is not None and not isinstance(liked, int | float):
            raise ValueError(f"liked in {file} must be a number, got {liked!r}")
        settings = _section(content, "model", file)
        algorithm = settings.pop("algorithm", "FM")
        plan = cls(columns, {name: _feature(name, one, file) for name, one in features.items()})
        check_choice("task", content.get("task", "ranking"), get_args(Task))
        return replace(plan, task=content.get("task", "ranking"), liked=liked, algorithm=algorithm, settings=settings)


def _section(content: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    section = content.get(name, {})
    if not isinstance(section, dict):
        raise ValueError(f"{name} in {file} must be a section, [{name}]")
    return dict(section)


def _feature(name: str, about: Any, file: Path) -> FeatureColumn:
    if not isinstance(about, dict):
        raise ValueError(f"{name!r} in {file} must be such as {{ side = 'item', kind = 'sparse' }}, got {about!r}")
    check_names(about, FEATURE, f"what the plan {file} can say of {name!r}")
    check_choice(f"side of {name!r}", about.get("side"), get_args(FeatureSide))
    check_choice(f"kind of {name!r}", about.get("kind"), get_args(FeatureKind))
    if about["kind"] == "display" and about["side"] != "item":
        raise ValueError(f"{name!r} in {file} is of a {about['side']}: columns of items alone are shown")
    n_buckets = about.get("n_buckets")
    if n_buckets is not None and type(n_buckets) is not int:
        raise ValueError(f"n_buckets of {name!r} in {file} must be an integer, got {n_buckets!r}")
    return FeatureColumn(about["side"], about["kind"], about.get("separator"), about.get("group"), n_buckets)


def parts_of(value: object, separator: str) -> list[str] | None:
    """The values in a text; None where it is missing."""
    if not isinstance(value, str):
        return None
    return [part for part in map(str.strip, value.split(separator)) if part]


def quoted(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(quoted, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{quoted(name)} = {quoted(one)}' for name, one in value.items())} }}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
