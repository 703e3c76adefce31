"""Schema: which columns there are, of which side and of which kind."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from recolib.caching import cached
from recolib.checks import check_names, suggestion
from recolib.data.field import SEQUENCES, SIDES, Field, Group, Side, read_names
from recolib.data.kinds import KINDS, kind_of, layout_of
from recolib.data.rows import Part, Rows

T = TypeVar("T", bound=str)
PARTS: dict[Part, type[np.generic]] = {"codes": np.int32, "dense": np.float32}
RESERVED = ("user", "item", "label")


@dataclass(frozen=True)
class Schema:
    """All fields, side by side; on each side the id first, then sparse, multi-sparse, dense and vector fields."""

    fields: tuple[Field, ...]

    def codes(self, side: Side) -> tuple[Field, ...]:
        """The fields of a side that have codes, in the order of their code columns."""
        return self._by_part[side, "codes"]

    def dense(self, side: Side) -> tuple[Field, ...]:
        """The numeric fields of a side, in the order of their columns."""
        return self._by_part[side, "dense"]

    def features(self, side: Side) -> tuple[Field, ...]:
        """The fields of a side but for its id."""
        return tuple(field for field in self.fields if field.side == side and not field.is_id)

    def columns(self, side: Side) -> list[str]:
        """The feature columns of a side as the frame names them."""
        return [column for field in self.features(side) for column in field.columns]

    def span(self, field: Field) -> slice:
        """The columns of a field among those of its side's codes, or of its side's numbers."""
        return self._spans[field.name]

    def n_codes(self, side: Side) -> int:
        """How many code columns a side has."""
        return self._widths[side, "codes"]

    def n_dense(self, side: Side) -> int:
        """How many columns of numbers a side has."""
        return self._widths[side, "dense"]

    def blank(self, side: Side) -> Rows:
        """The row of an unknown id without features, (1, C) and (1, D)."""
        return self._blank[side]

    @cached
    def _blank(self) -> dict[Side, Rows]:
        return {side: Rows(self._blank_part(side, "codes"), self._blank_part(side, "dense")) for side in SIDES}

    def _blank_part(self, side: Side, part: Part) -> Tensor:
        values = [kind_of(field).blank(field) for field in self._by_part[side, part]]
        return torch.from_numpy(np.concatenate([np.empty(0, PARTS[part]), *values], dtype=PARTS[part]))[None]

    @cached
    def _by_part(self) -> dict[tuple[Side, Part], tuple[Field, ...]]:
        return {
            (side, part): tuple(field for field in self.fields if field.side == side and layout_of(field).part == part)
            for side in SIDES
            for part in PARTS
        }

    @cached
    def _widths(self) -> dict[tuple[Side, Part], int]:
        return {place: sum(layout_of(field).width for field in fields) for place, fields in self._by_part.items()}

    @cached
    def _spans(self) -> dict[str, slice]:
        spans: dict[str, slice] = {}
        for fields in self._by_part.values():
            start = 0
            for field in fields:
                spans[field.name] = slice(start, start := start + layout_of(field).width)
        return spans

    def to_json(self) -> str:
        """The schema as text that ``from_json`` reads."""
        entries = [asdict(field) for field in self.fields]
        for entry in entries:
            for name in ("means", "n_buckets"):
                if not entry[name]:  # as before there were vectors and buckets: a fingerprint is of this text
                    del entry[name]
        return json.dumps(entries)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """The schema that ``to_json`` wrote."""
        entries: list[dict[str, Any]] = json.loads(text)
        fields = (Field(**entry) for entry in entries)
        return cls(tuple(replace(one, columns=tuple(one.columns), means=tuple(one.means)) for one in fields))


def make_schema(
    user_col: Sequence[str] | None = None,
    item_col: Sequence[str] | None = None,
    context_col: Sequence[str] | None = None,
    sparse_col: Sequence[str] | None = None,
    multi_sparse_col: Sequence[str | Sequence[str]] | None = None,
    dense_col: Sequence[str] | None = None,
    pad_val: int | str | Sequence[int | str] = "missing",
    present: Collection[str] | None = None,
    other_col: Mapping[str, Sequence[str | Sequence[str]]] | None = None,
    vector_col: Sequence[str] | None = None,
) -> Schema:
    """The schema that these lists of columns describe.

    Parameters
    ----------
    user_col, item_col, context_col, sparse_col, multi_sparse_col, dense_col, pad_val, other_col, vector_col
        As in ``DatasetFeat.build_trainset``.
    present
        The columns that the frames have, if they are to be checked.

    Raises
    ------
    ValueError
        If a column is not there, is of two kinds or sides or of none, stands twice, is called like one of the
        columns of the interaction itself, or if a group lies on two sides.
    """
    sides: dict[Side, list[str]] = {
        "user": read_names(user_col, "user_col"),
        "item": read_names(item_col, "item_col"),
        "context": read_names(context_col, "context_col"),
    }
    given = {"sparse": sparse_col, "multi_sparse": multi_sparse_col, "dense": dense_col, "vector": vector_col}
    given |= other_col or {}
    check_names(given, list(KINDS), "a kind of column")
    groups = {name: kind.groups(given.get(name), f"{name}_col") for name, kind in KINDS.items()}
    kinds = {name: [column for group in some for column in _columns(group)] for name, some in groups.items()}
    side_of, kind_name = _only(sides, "sides"), _only(kinds, "kinds")
    absent = sorted({*side_of, *kind_name} - set(present)) if present is not None else []
    if absent:
        there = sorted(map(str, present or ()))
        raise ValueError(f"columns {absent} are not in train_data: {there}{suggestion(absent[0], there)}")
    reserved = sorted({*side_of, *kind_name} & set(RESERVED))
    if reserved:
        raise ValueError(f"columns {reserved} are the interaction itself, not features: take them out of the lists")
    _refuse_unplaced(set(kind_name) - set(side_of), "have no side: name them in user_col, item_col or context_col")
    _refuse_unplaced(
        set(side_of) - set(kind_name),
        "have no kind: name them in sparse_col, multi_sparse_col, dense_col or vector_col",
    )
    pads = {"multi_sparse": _pads(pad_val, len(groups["multi_sparse"]))}

    fields: list[Field] = []
    for side in SIDES:
        if side != "context":
            fields.append(KINDS["sparse"].field(side, side, None))
        for name, kind in KINDS.items():
            for at, group in enumerate(groups[name]):
                columns = _columns(group)
                if len({side_of[column] for column in columns}) > 1:
                    raise ValueError(f"the columns {list(columns)} of one {name}_col group lie on two sides")
                if side_of[columns[0]] == side:
                    fields.append(kind.field(group, side, pads[name][at] if name in pads else None))
    return Schema(tuple(fields))


def _columns(group: Group) -> tuple[str, ...]:
    return (group,) if isinstance(group, str) else group


def _pads(pad_val: object, n_groups: int) -> list[int | str]:
    pads = list(pad_val) if isinstance(pad_val, SEQUENCES) else [pad_val] * n_groups
    if isinstance(pad_val, SEQUENCES) and len(pads) != n_groups:
        raise ValueError(f"pad_val must be one value or one for each multi_sparse_col group: {len(pads)} != {n_groups}")
    for pad in [pad_val] if not isinstance(pad_val, SEQUENCES) else pads:
        if isinstance(pad, bool) or not isinstance(pad, int | str | np.integer):
            raise ValueError(
                f"pad_val must be an integer or a string, or a list with one for each group, got {pad_val!r}"
            )
    return [pad if isinstance(pad, str) else int(cast("int", pad)) for pad in pads]


def _only(places: Mapping[T, list[str]], what: str) -> dict[str, T]:
    found: dict[str, T] = {}
    for place, columns in places.items():
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"columns {twice} stand twice in the {place} columns")
        both = sorted(set(columns) & set(found))
        if both:
            raise ValueError(f"columns {both} are of two {what}: {found[both[0]]} and {place}")
        found.update(dict.fromkeys(columns, place))
    return found


def _refuse_unplaced(columns: set[str], problem: str) -> None:
    if columns:
        raise ValueError(f"columns {sorted(columns)} {problem}")
