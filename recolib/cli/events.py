"""Events: a table in memory, or one that is too large for that and is read part by part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from recolib.cli.inference import SAMPLED_ROWS, has_lists
from recolib.cli.plan import Plan
from recolib.cli.tables import PARQUET, column, read_table
from recolib.data import split_by_ratio, split_by_ratio_chrono, split_in_parts
from recolib.data.frame import Frame
from recolib.data.streaming.sources import Source, SplitPart, source_of
from recolib.files import local_path

MAX_ROWS = 2**22
"""Rows up to which a table of Parquet is read as a whole."""
OF_ID = "user", "item"
UNNAMED_INDEX = re.compile(r"__index_level_[0-9]+__")
"""Columns in which pandas writes the numbers of rows; of a file alone it reads them as such again."""


@dataclass(frozen=True, eq=False)
class Events:
    """Events, as the table or as a plan has them.

    Attributes
    ----------
    data
        What models take: a frame, a function that gives frames, or a part of a split.
    parts
        Gives frames, one after the other; of a table in memory this alone.
    n_rows
        How many events there are.
    source
        What the parts are read from; None for a table in memory, or where the parts were prepared.
    """

    data: object
    parts: Callable[[], Iterator[pd.DataFrame]]
    n_rows: int
    source: Source | None = None

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Events:
        """Those of a frame."""
        return cls(frame, lambda: iter([frame]), len(frame))

    @classmethod
    def read(cls, path: str | Path) -> Events:
        """Those of a file of CSV or Parquet, or of a folder of Parquet files.

        Raises
        ------
        FileNotFoundError
            If there is no such file or folder.
        ValueError
            If it cannot be read, or has no rows.
        """
        file = local_path(path, "data")
        is_parquet = file.is_dir() or (file.is_file() and file.suffix.lower() in PARQUET)
        if not is_parquet:
            return cls.of(read_table(file))
        try:
            source = source_of(file, "data")
        except ValueError as error:
            raise ValueError(f"{file} cannot be read as Parquet: {error}") from error
        assert source is not None
        n_rows = sum(part.n_rows for part in source.parts([]))
        if not n_rows:
            raise ValueError(f"{file} has no rows")
        frames = partial(_frames, source, [name for name in source.columns if not UNNAMED_INDEX.fullmatch(name)])
        if n_rows > MAX_ROWS:
            return cls(frames, frames, n_rows, source)
        return cls.of(pd.concat(frames(), ignore_index=True))

    @property
    def is_whole(self) -> bool:
        """Whether they are in memory."""
        return isinstance(self.data, pd.DataFrame)

    def whole(self) -> pd.DataFrame:
        """All of them in memory."""
        return pd.concat(self.parts(), ignore_index=True) if not self.is_whole else next(self.parts())

    def head(self) -> pd.DataFrame:
        """Those that say what the columns are: all, or the first of many."""
        frames, n_rows = list[pd.DataFrame](), 0
        for frame in self.parts():
            frames.append(frame)
            n_rows += len(frame)
            if n_rows >= SAMPLED_ROWS:
                break
        return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)

    def prepared(self, plan: Plan) -> Events:
        """With the names and labels that models know; see ``Plan.prepared``."""
        if self.is_whole:
            return Events.of(plan.prepared(self.whole()))
        source = self.source
        assert source is not None
        wanted = {*plan.columns.values(), *plan.features}

        def frames() -> Iterator[pd.DataFrame]:
            return map(plan.prepared, _frames(source, [name for name in source.columns if name in wanted]))

        return Events(frames, frames, self.n_rows)

    def split(self, test: float) -> list[Events]:
        """The earlier events, and each user's latest; without times, in the order of the table."""
        if self.is_whole:
            frame = self.whole()
            by = split_by_ratio_chrono if "time" in frame.columns else split_by_ratio
            return [Events.of(part) for part in by(frame, test_size=test)]
        return [_of_split(part) for part in split_in_parts(self.data, "user", test_size=test)]

    def more_than(self, n: int, side: str) -> bool:
        """Whether there are more than n users, or items."""
        seen = set[Any]()
        for frame in self.parts():
            seen.update(column(frame, side).unique().tolist())
            if len(seen) > n:
                return True
        return False

    def arguments(self, plan: Plan) -> dict[str, Any]:
        """The arguments of ``build_trainset`` by a plan, the events among them.

        Of events that are read part by part, columns of users and items that are lists, or stand for themselves, become
        tables of features, as the last event has them.

        Raises
        ------
        ValueError
            If there are lists that are of the events themselves.
        """
        if self.is_whole:
            return {"train_data": self.data, **plan.arguments()}
        first = next(self.parts())
        apart = {
            name: one.side
            for name, one in plan.features.items()
            if name in first.columns and (one.kind == "display" or has_lists(column(first, name)))
        }
        of_events = [name for name, side in apart.items() if side == "context"]
        if of_events:
            raise ValueError(
                f"columns {of_events} are lists of the events, and these are too many to be read as a whole: give them "
                "kind = 'ignore' in the plan"
            )
        tables = {side: self._last(side, [name for name, of in apart.items() if of == side]) for side in OF_ID}
        return {
            "train_data": lambda: (frame.drop(columns=[*apart]) for frame in self.parts()),
            **plan.arguments(),
            **{f"{side}_features": table for side, table in tables.items() if len(table)},
        }

    def _last(self, side: str, names: list[str]) -> pd.DataFrame:
        """Some columns of users or items, as the last event of each has them."""
        last = pd.DataFrame()
        for frame in self.parts() if names else ():
            own = pd.DataFrame(frame, columns=[side, *names])
            both = pd.concat([last, own], ignore_index=True) if len(last) else own
            last = pd.DataFrame(both[~both[side].duplicated(keep="last")])
        return last


def _of_split(part: SplitPart) -> Events:
    return Events(part, lambda: _frames(part, part.columns), part.n_rows)


def _frames(source: Source, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The parts of a source that have rows."""
    for part in source.parts(columns):
        if part.n_rows:
            yield _as_pandas(part.read(columns))


def _as_pandas(part: Frame) -> pd.DataFrame:
    """A part as pandas has it, but that integers of which some are missing stay integers."""
    frame = part.to_pandas()
    for name, dtype in part.schema.items():
        if dtype.is_integer() and part[name].null_count():
            kind = pd.api.types.pandas_dtype(str(dtype))
            frame[name] = part[name].to_arrow().to_pandas(types_mapper=lambda _, kind=kind: kind)
    return frame
