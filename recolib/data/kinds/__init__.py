"""The kinds of columns: a module with a class for each, registered here."""

from recolib.data.field import Field
from recolib.data.kinds.dense import Dense
from recolib.data.kinds.kind import Cells, Encoded, Facts, Kind, Layout, Learnt, Seen, Spooled
from recolib.data.kinds.multi_sparse import MultiSparse
from recolib.data.kinds.sparse import Sparse
from recolib.data.kinds.vector import Vector

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Sparse(), MultiSparse(), Dense(), Vector())}
"""Each kind by its name. On each side, fields stand in the order of their kinds here."""


def kind_of(field: Field) -> Kind:
    """The kind of a field."""
    return KINDS[field.kind]


def layout_of(field: Field) -> Layout:
    """What a field takes of a row."""
    return KINDS[field.kind].layout(field)


__all__ = [
    "KINDS",
    "Cells",
    "Encoded",
    "Facts",
    "Kind",
    "Layout",
    "Learnt",
    "Seen",
    "Spooled",
    "kind_of",
    "layout_of",
]
