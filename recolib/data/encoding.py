"""Rows of what a frame gives, and rows of which nothing is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.field import Side
from recolib.data.frame import Frame
from recolib.data.kinds import Values, kind_of, layout_of
from recolib.data.rows import Rows
from recolib.data.schema import Schema
from recolib.data.vocab import Vocab


def overlay(
    rows: Rows,
    frame: Frame,
    schema: Schema,
    vocabs: Mapping[str, Vocab],
    side: Side,
    where: NDArray[np.bool_] | None = None,
) -> Rows:
    """Rows with the features that a frame gives laid over their own; a missing value changes nothing.

    Parameters
    ----------
    rows
        Rows of the side, shape (n, C) and (n, D).
    frame
        As many rows, in the same order, with any of the side's feature columns.
    schema, vocabs
        The columns and what their values are coded with.
    side
        Whose features are taken.
    where
        Which rows may change, shape (n,); all by default.
    """
    laid = Rows(rows.codes.clone(), rows.dense.clone())
    for field in schema.features(side):
        if not any(name in frame.columns for name in field.columns):
            continue
        values, given = kind_of(field).encode(frame, field, vocabs.get(field.name))
        columns = laid.part(layout_of(field).part).numpy()[:, schema.span(field)]
        np.copyto(columns, values, where=given if where is None else given & where[:, None])
    return laid


def blank_rows(schema: Schema, side: Side, n: int) -> Rows:
    """Rows of which nothing is known: code 0 in each column, one unknown value in each group, the mean of numbers."""
    row = schema.blank(side)
    return Rows(row.codes.repeat(n, 1), row.dense.repeat(n, 1))


def fill(
    rows: Rows, schema: Schema, side: Side, learnt: Mapping[str, Values], at: NDArray[np.integer] | None = None
) -> Rows:
    """Write the values of fields into ``rows``, all of them or those numbered ``at``; returns ``rows``."""
    where = slice(None) if at is None else torch.from_numpy(at).long()
    for field in schema.features(side):
        if field.name in learnt:
            rows.part(layout_of(field).part)[where, schema.span(field)] = torch.from_numpy(learnt[field.name])
    return rows
