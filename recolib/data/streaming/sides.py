"""The table of users or of items, of events that come part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.encoding import fill
from recolib.data.field import Side
from recolib.data.kinds import Cells, layout_of
from recolib.data.order import last_of
from recolib.data.rows import Codes, Rows
from recolib.data.schema import Schema
from recolib.data.streaming.array_files import ArrayFiles
from recolib.data.table import Table, table_of_events
from recolib.data.times import Times

MAX_CHANGING = 2**24
"""Events of ids whose features change that are looked at together, in memory."""


class SideEvents:
    """What the events of one side show, part by part: the last of each id, and whose features change.

    Parameters
    ----------
    schema, side
        The columns, and the side.
    blank
        The row of each id, with what is known of it without events; its cells are overwritten by those of events.
    names
        The fields that events have.
    """

    def __init__(self, schema: Schema, side: Side, blank: Rows, names: Sequence[str]) -> None:
        self.schema, self.blank, self.names = schema, blank, names
        self.side: Side = side
        self._met = np.zeros(len(blank), bool)
        self._changes = np.zeros(len(blank), bool)

    def add(self, codes: Codes, cells: Mapping[str, Cells]) -> None:
        """Take in the events of a part, of these ids and with these cells of the fields."""
        last = last_of(codes, len(self.blank))
        seen = np.flatnonzero(last >= 0)
        fields = [field for field in self.schema.features(self.side) if field.name in self.names]
        for field in fields:
            columns = self.blank.part(layout_of(field).part).numpy()[:, self.schema.span(field)]
            values = np.ascontiguousarray(cells[field.name])
            latest = values[last[seen]]
            differs = (_bits(columns[seen]) != _bits(latest)).any(1) & self._met[seen]
            self._changes[seen[differs]] = True
            self._changes[codes[(_bits(values) != _bits(values[last[codes]])).any(1)]] = True
            columns[seen] = latest
        self._met[seen] = True

    def table(self, files: ArrayFiles, parts: Iterator[tuple[slice, Mapping[str, Cells]]]) -> tuple[Table, str]:
        """The table, and the name of the array with the row of each event.

        Parameters
        ----------
        files
            Has the codes and times of the events, and gets their rows where these are others than the codes.
        parts
            The cells of the parts again, with the numbers of their rows.

        Raises
        ------
        ValueError
            If more events than fit into memory are of ids whose features change.
        """
        of_codes = f"{self.side}_codes"
        if not self._changes.any():
            return Table.of(self.blank), of_codes
        codes, times, numbers, shown = self._changing(files, parts)
        events = fill(self.blank[torch.from_numpy(codes)], self.schema, self.side, shown)
        table, rows = table_of_events(self.blank, codes, events, times)
        name = f"{self.side}_rows"
        with files.writing({name: ("<i4", ())}) as writing:
            for at, (block,) in files.blocks(of_codes):
                low, high = np.searchsorted(numbers, [at.start, at.stop])
                block[numbers[low:high] - at.start] = rows[low:high]
                writing.write(**{name: block})
        return table, name

    def _changing(
        self, files: ArrayFiles, parts: Iterator[tuple[slice, Mapping[str, Cells]]]
    ) -> tuple[Codes, Times, NDArray[np.int64], dict[str, Cells]]:
        """Of the events of ids whose features change their ids, times, numbers and cells."""
        of_events, of_times = files.mapped(f"{self.side}_codes"), files.mapped("times")
        codes, times, numbers = list[Codes](), list[Times](), list[NDArray[np.int64]]()
        shown: dict[str, list[Cells]] = {name: [] for name in self.names}
        n = 0
        for at, cells in parts:
            own = of_events[at]
            some = np.flatnonzero(self._changes[own])
            n += len(some)
            if n > MAX_CHANGING:
                raise ValueError(
                    f"features of {self.side}s, {list(self.names)}, change, and more than {MAX_CHANGING} events are of "
                    f"such {self.side}s: name them in context_col, or give those of now in {self.side}_features"
                )
            codes.append(own[some])
            times.append(of_times[at][some])
            numbers.append(some + at.start)
            for name in self.names:
                shown[name].append(cells[name][some])
        joined: dict[str, Cells] = {name: np.concatenate(cast("Any", some)) for name, some in shown.items()}
        return np.concatenate(codes), np.concatenate(times), np.concatenate(numbers), joined


def _bits(cells: NDArray[Any]) -> NDArray[np.int32]:
    """Cells as bits, so that −0 differs from 0."""
    return cells.view(np.int32)
