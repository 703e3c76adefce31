"""Kind: what the library needs to know of a kind of column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.field import Field, Group, Side, read_names
from recolib.data.frame import Frame, Values
from recolib.data.rows import Codes, Part
from recolib.data.vocab import Vocab
from recolib.files import require

Cells = Codes | NDArray[np.float32]
"""What a field has of n rows, shape (n, width): codes, int32, or numbers, float32."""


class Layout(NamedTuple):
    """What a field takes of a row, and what the network makes of it.

    Attributes
    ----------
    part
        The part of ``Rows`` that it stands in: ``"codes"`` have vectors, a ``"dense"`` number multiplies one.
    width
        How many columns of that part.
    slots
        Whether the columns are slots of one feature, pooled, of which some may be ``ABSENT``.
    projected
        Whether the columns are the numbers of one vector, so that together they have one place among the fields.
    """

    part: Part
    width: int = 1
    slots: bool = False
    projected: bool = False


class Learnt(NamedTuple):
    """A field as a training frame defines it, its vocabulary if it has one, and its cells of the frame."""

    field: Field
    vocab: Vocab | None
    cells: Cells


class Spooled(NamedTuple):
    """What a part of a training frame has of a field, before all parts are known.

    Attributes
    ----------
    cells
        Shape (n, width): positions among ``values``, negative where there is none, or numbers, NaN where there is none.
    values
        The part's distinct values; None for a kind without a vocabulary.
    """

    cells: NDArray[Any]
    values: Values | None


class Seen(NamedTuple):
    """What all parts of a training frame have of a field.

    Attributes
    ----------
    values
        The distinct values; of a field with buckets no more than say that there are some. None for a kind without.
    counts
        How many values each column has.
    cells
        Gives the cells of each part.
    """

    values: Values | None
    counts: NDArray[np.int64]
    cells: Callable[[], Iterator[NDArray[Any]]]


class Encoded(NamedTuple):
    """A field's cells of a frame, and which of them the frame gives, of a shape that broadcasts to theirs."""

    cells: Cells
    given: NDArray[np.bool_]


@dataclass(frozen=True)
class Facts:
    """What a model card says of a field; None where it does not apply."""

    n_values: int | None = None
    n_slots: int = 1
    mean: float | None = None
    range: tuple[float, float] | None = None
    n_numbers: int | None = None
    n_buckets: int | None = None


class Kind:
    """A kind of column: how it is learnt, encoded, decoded, laid out and described.

    A kind has no state. What it learns stands in the ``Field`` and the ``Vocab``. A new kind is a subclass with
    a ``name``, in a module of its own, and one entry in ``KINDS``.
    """

    name: ClassVar[str]
    in_parts: ClassVar[bool] = False
    """Whether a training frame may come in parts, by ``spool``, ``learn_parts`` and ``settle``."""
    hashes: ClassVar[bool] = False
    """Whether a field may have ``n_buckets`` in place of a vocabulary of its values."""

    def groups(self, columns: object, argument: str) -> list[Group]:
        """What each field is read from, of what the caller passed; by default each column is a field.

        Raises
        ------
        ValueError
            If it is not a list of column names; the message names ``argument``.
        """
        return list(read_names(columns, argument))

    def field(self, group: Group, side: Side, pad_val: int | str | None) -> Field:
        """The field that is read from a column or a group, before anything is learnt."""
        columns = (group,) if isinstance(group, str) else group
        return Field(columns[0], side, self.name, columns)

    def layout(self, field: Field) -> Layout:
        """What the field takes of a row."""
        raise NotImplementedError

    def takes_lists(self, field: Field) -> bool:
        """Whether the value of one row is a list."""
        return False

    def blank(self, field: Field) -> Cells:
        """What stands in a row of which nothing is known, shape (width,)."""
        raise NotImplementedError

    def learn(self, frame: Frame, field: Field, scaling: str) -> Learnt:
        """Learn the field from a training frame.

        Parameters
        ----------
        frame
            The frame, with all columns of the field.
        field
            The field as ``field`` made it.
        scaling
            ``dense_scaling`` of ``build_trainset``.
        """
        raise NotImplementedError

    def spool(self, frame: Frame, field: Field) -> Spooled:
        """What a part of a training frame has of the field; one that has nothing is no error."""
        raise NotImplementedError

    def learn_parts(self, field: Field, seen: Seen, scaling: str) -> tuple[Field, Vocab | None]:
        """Learn the field from all parts of a training frame, to what ``learn`` learns of it as a whole."""
        raise NotImplementedError

    def settle(self, spooled: Spooled, field: Field, vocab: Vocab | None) -> Cells:
        """The cells of a part, now that all parts are known."""
        raise NotImplementedError

    def extend(self, frame: Frame, field: Field, vocab: Vocab | None) -> tuple[Vocab | None, Cells]:
        """The vocabulary with the new values of a further frame behind it, and the cells of the frame."""
        raise NotImplementedError

    def encode(self, frame: Frame, field: Field, vocab: Vocab | None) -> Encoded:
        """The cells of a frame, with what was learnt. The frame has at least one of the field's columns."""
        raise NotImplementedError

    def decode(self, cells: Cells, field: Field, vocab: Vocab | None) -> dict[str, pd.Series]:
        """The frame's columns again; a value that is not in the vocabulary is missing."""
        raise NotImplementedError

    def show(self, cells: list[Any], field: Field, vocab: Vocab | None, special: dict[int, str]) -> int | float | str:
        """One row's cells as an explanation shows them.

        ``special`` has what to write for ``UNKNOWN`` and ``AVERAGE``.
        """
        raise NotImplementedError

    def describe(self, field: Field, vocab: Vocab | None, cells: Cells) -> Facts:
        """What a model card says of the field, given the cells of all ids; none for a context, which has no ids."""
        raise NotImplementedError

    def manifest(self, field: Field, start: int) -> dict[str, Any]:
        """What an application needs to encode values itself, as JSON; ``start`` is its first column."""
        return {"name": field.name, "side": field.side, "kind": field.kind, "columns": list(field.columns)}

    def check(self, field: Field) -> None:
        """Raise unless a field from a file can be of this kind."""
        require(field.width == len(field.columns), f"field {field.name!r} has a slot for each column")
