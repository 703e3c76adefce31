"""Which columns are hashed, and to how many buckets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, cast, get_args

from recolib.checks import check_choice, check_integer, check_names
from recolib.data.field import MAX_BUCKETS, Group
from recolib.data.kinds import kind_of
from recolib.data.schema import Schema

Encoding = Literal["vocabulary", "hash"]
N_BUCKETS = 2**20
"""Buckets of a hashed column where nobody says how many."""


def with_buckets(
    schema: Schema, encoding: Encoding | Mapping[Group, Encoding], n_buckets: int | Mapping[Group, int] | None
) -> Schema:
    """The schema in which those fields are hashed that ``encoding`` says, to as many buckets as ``n_buckets`` says.

    Parameters
    ----------
    schema
        The columns.
    encoding, n_buckets
        As in ``DatasetFeat.build_trainset``.

    Raises
    ------
    ValueError, TypeError
        If they name what cannot be hashed or is not hashed, or if there is nothing to hash.
    """
    ways = _by_field(schema, encoding, "encoding")
    for name, way in (ways if isinstance(encoding, Mapping) else {"": encoding}).items():
        check_choice(f"encoding of {name!r}" if name else "encoding", way, get_args(Encoding))
    hashed = [name for name, way in ways.items() if way == "hash"]
    if encoding == "hash" and not hashed:
        raise ValueError("encoding='hash' finds nothing to hash: there is no sparse_col and no multi_sparse_col")
    sizes = {} if n_buckets is None else _by_field(schema, n_buckets, "n_buckets")
    unhashed = [name for name in sizes if name not in hashed] if isinstance(n_buckets, Mapping) else []
    if unhashed or (n_buckets is not None and not hashed):
        name = (unhashed or ["device"])[0]
        which = f"{unhashed} are not" if unhashed else "none is"
        raise ValueError(f"n_buckets is for hashed columns, and {which}: say such as encoding={{{name!r}: 'hash'}}")
    for name, n in (sizes if isinstance(n_buckets, Mapping) else {"": n_buckets} if sizes else {}).items():
        check_integer(f"n_buckets of {name!r}" if name else "n_buckets", n, 1, MAX_BUCKETS + 1)
    of_field = {name: int(cast("int", sizes.get(name, N_BUCKETS))) for name in hashed}
    return Schema(tuple(replace(field, n_buckets=of_field.get(field.name, 0)) for field in schema.fields))


def _by_field(schema: Schema, given: object, argument: str) -> dict[str, object]:
    """What an argument says of each field that can be hashed, as one value for all or by column and group.

    Raises
    ------
    ValueError
        If it names something else.
    """
    fields = [field for field in schema.fields if kind_of(field).hashes and not field.is_id]
    if not isinstance(given, Mapping):
        return {field.name: given for field in fields}
    by_group = cast("Mapping[object, object]", given)
    named: dict[object, str] = {group: field.name for field in fields for group in (field.name, field.columns)}
    for group in by_group:
        if group not in named:
            _refuse(schema, group, argument, [field.name for field in fields])
    twice = [name for name, n in Counter(named[group] for group in by_group).items() if n > 1]
    if twice:
        raise ValueError(f"{argument} names {twice[0]!r} twice: by its columns and by the first of these")
    return {named[group]: value for group, value in by_group.items()}


def _refuse(schema: Schema, group: object, argument: str, names: list[str]) -> None:
    if group in ("user", "item"):
        raise ValueError(
            f"{argument} cannot have {group!r}: ids need a vocabulary, since lists, what users consumed and cold start "
            f"are of each {group} by itself; leave it out, and declare a copy of the column to hash that"
        )
    field = next((field for field in schema.fields if group in field.columns), None)
    if field is not None and field.name in names:
        raise ValueError(f"{argument} names {group!r} of the group {list(field.columns)}: name {field.name!r}")
    if field is not None:
        raise ValueError(
            f"{argument} names {group!r}, which is {field.kind!r} and is not hashed: only sparse_col and "
            "multi_sparse_col can be"
        )
    check_names([str(group)], names, f"a sparse or multi-sparse column, of which {argument} is")
