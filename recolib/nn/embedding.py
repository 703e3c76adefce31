"""Codes and numbers to vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from recolib.data.rows import ABSENT, AVERAGE, UNKNOWN, Rows
from recolib.files import scratch
from recolib.nn.dropout import dropout
from recolib.nn.fields import Fields
from recolib.nn.lookup import Decayed, lookup, lookup_elsewhere

Combiner = Literal["sum", "mean", "sqrtn", "normal"]
POWERS = {"sum": 0.0, "mean": -1.0, "sqrtn": -0.5}
"""A pooled sum is multiplied by the number of present values to this power."""
LONG = 8
"""Slots beyond which only those with a value are looked up: to look up all is faster where they are few."""
ROWS_AT_ONCE = 2**20
"""Rows of codes that are counted together."""
N_SPECIAL = 2
"""Rows of a block before its values: those of the average and of the unknown value."""


@dataclass(frozen=True)
class CodeField:
    """A field of codes: its number of values, its number of slots, and whether it is multi-sparse."""

    n_values: int
    width: int = 1
    multi: bool = False


@dataclass(frozen=True)
class SideLayout:
    """The columns of a side's ``Rows``.

    Attributes
    ----------
    code_fields
        The fields of codes in the order of their columns.
    n_dense
        The number of dense columns.
    vectors
        Where among these the numbers of a vector begin and end, which together are one field; each other is a field.
    """

    code_fields: tuple[CodeField, ...]
    n_dense: int = 0
    vectors: tuple[tuple[int, int], ...] = ()

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The rows of each code field in the side's table: the average, the unknown value, then all values by code."""
        ends = [*accumulate(field.n_values + N_SPECIAL for field in self.code_fields)]
        return tuple(map(slice, [0, *ends], ends))

    @property
    def n_rows(self) -> int:
        """The number of rows of the side's table."""
        return sum(field.n_values + N_SPECIAL for field in self.code_fields)

    def numbers(self, combiner: Combiner, first: int = 0) -> tuple[int, ...]:
        """The field number of each position, counted from ``first``."""
        repeats = [field.width if field.multi and combiner == "normal" else 1 for field in self.code_fields]
        repeats += [1] * (self.n_dense - sum(end - begin - 1 for begin, end in self.vectors))
        return tuple(first + number for number, n in enumerate(repeats) for _ in range(n))


class FieldEmbedding(nn.Module):
    """The vectors and linear weights of one side's fields.

    All code fields share a table, each with a block of rows in it: the average of its trained values, the
    unknown value (code 0), then all values by code. A dense field has one vector v, and its vector is x·v. Each number
    of a vector field has one, too, and the field's vector is the sum of their x·v: a projection.

    Parameters
    ----------
    layout
        The side's columns.
    dim
        Vector size K.
    combiner
        How the n present values of a multi-sparse field are pooled: ``"sum"``, ``"mean"`` (sum / n),
        ``"sqrtn"`` (sum / √n), or ``"normal"``: not at all, each slot is a vector of its own.
    dropout
        The share of vector elements that training drops.
    init_std
        Vectors start as N(0, init_std²), linear weights at 0: random linear weights cost more than a hundredth of AUC
        on MovieLens.
    on_disk
        Whether the table of vectors, if it is large, is in a file, which the system keeps in memory as far as there is
        room.

    Attributes
    ----------
    reg
        The L2 penalty in training: ``reg`` times ‖v‖² + w² of all table rows that are looked up, as a mean over the
        rows of the batch, and of projections. It is added to their gradients, not to the loss.
    prior
        The L2 penalty that each vector has once an epoch beside that: how much of it a lookup of each table row has,
        (rows,). None is no penalty.
    prior_of_projections
        The same of projections: how much of it a row has, whatever it is.
    prior_of_weights
        Whether linear weights have it, too.
    prior_share
        What it is multiplied by, where a batch looks the same rows up part by part.
    elsewhere
        What has the vectors of rows (n,) in training, where processes share the table out; see ``training/shards.py``.
    """

    offsets: Tensor
    present: Tensor
    trained: Tensor
    numbers: Tensor
    powers: Tensor

    def __init__(
        self,
        layout: SideLayout,
        dim: int,
        combiner: Combiner = "sqrtn",
        dropout: float = 0.0,
        init_std: float = 0.01,
        on_disk: bool = False,
    ) -> None:
        super().__init__()
        self.layout, self.combiner, self.dropout = layout, combiner, dropout
        self.blocks, n_rows = layout.blocks, layout.n_rows
        fields = zip(self.blocks, layout.code_fields, strict=True)
        starts = [block.start - AVERAGE for block, field in fields for _ in range(field.width)]
        self.register_buffer("offsets", torch.tensor(starts, dtype=torch.int64), persistent=False)
        self.register_buffer("trained", torch.zeros(n_rows, dtype=torch.bool))
        self.register_buffer("present", torch.ones((), dtype=torch.bool), persistent=False)
        if on_disk and torch.get_default_device().type == "cpu":
            self.vectors = nn.Embedding(n_rows, dim, _weight=torch.from_numpy(scratch((n_rows, dim), np.float32)))
            self.vectors.reset_parameters()  # which draws as much as a table in memory has drawn
        else:
            self.vectors = nn.Embedding(n_rows, dim)
        self.weights = nn.Embedding(n_rows, 1)
        self.dense_vectors = nn.Parameter(torch.empty(layout.n_dense, dim))
        self.dense_weights = nn.Parameter(torch.zeros(layout.n_dense))
        nn.init.normal_(self.vectors.weight, std=init_std)
        nn.init.normal_(self.dense_vectors, std=init_std)
        for begin, end in layout.vectors:  # whose numbers are about 1 / width
            self.dense_vectors.data[begin:end] *= (end - begin) ** 0.5
        nn.init.zeros_(self.weights.weight)
        self.reg = 0.0
        self.prior: Tensor | None = None
        self.prior_of_projections: Tensor | float = 0.0
        self.prior_of_weights, self.prior_share = True, 1.0
        self.elsewhere: Callable[[Tensor], Tensor] | None = None
        self._has_slots = any(field.multi for field in layout.code_fields)
        widest = max((field.width for field in layout.code_fields if field.multi), default=0)
        self._has_long_lists = widest > LONG and combiner != "normal"
        numbers = [n for n, field in enumerate(layout.code_fields) for _ in range(field.width)]
        powers = [POWERS[combiner] if field.multi and combiner != "normal" else 0.0 for field in layout.code_fields]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64), persistent=False)
        self.register_buffer("powers", torch.tensor(powers), persistent=False)

    @property
    def id_rows(self) -> slice:
        """The rows of the table that the ids have, by code from 0 on; the first column is the id's."""
        return slice(int(self.offsets[0]), self.blocks[0].stop)

    def forward(self, rows: Rows) -> Fields:
        """Embed rows (..., C), (..., D) as fields (..., F, K)."""
        of_weights = self.prior is None or self.prior_of_weights
        if self._has_long_lists and not torch.compiler.is_compiling():  # an exported graph has slots of fixed number
            fields = self._present_alone(rows.codes, of_weights)
        elif self._has_slots:
            at, present = self._at(rows.codes), rows.codes != ABSENT
            decay = self._decay(at, rows.codes)
            decay = decay if isinstance(decay, float) and not decay else present * decay
            vectors, weights = self._lookup(at, decay, of_weights)
            fields = self._pool(Fields(vectors * present.unsqueeze(-1), weights * present, present))
        else:
            at = self._at(rows.codes)
            decay = self._decay(at, rows.codes)
            vectors, weights = self._lookup(at, decay, of_weights)
            fields = Fields(vectors, weights, self.present.expand(weights.shape))
        if self.layout.n_dense:
            fields = fields.join(self._of_numbers(rows.dense))
        return Fields(dropout(fields.vectors, self.dropout, self.training), fields.weights, fields.present)

    def _of_numbers(self, x: Tensor) -> Fields:
        """The fields of numbers (..., D); one that is missing counts as the mean."""
        if not self.layout.vectors:
            always = self.present.expand(x.shape)
            return Fields(x.unsqueeze(-1) * self.dense_vectors, x * self.dense_weights, always)
        parts, end = list[tuple[Tensor, Tensor]](), 0
        for begin, after in (*self.layout.vectors, (x.shape[-1],) * 2):
            single, vectors, weights = x[..., end:begin], self.dense_vectors, self.dense_weights
            parts.append((single.unsqueeze(-1) * vectors[end:begin], single * weights[end:begin]))
            if begin < after:
                several, both = x[..., begin:after], (vectors[begin:after], weights[begin:after])
                projection, weight = both if not self.training else self._penalised(*both, x)
                parts.append(((several @ projection).unsqueeze(-2), (several @ weight).unsqueeze(-1)))
            end = after
        found, linear = (torch.cat(some, dim) for some, dim in zip(zip(*parts, strict=True), (-2, -1), strict=True))
        return Fields(found, linear, self.present.expand(linear.shape))

    def _penalised(self, projection: Tensor, weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """A projection and its linear weights, whose gradients have the penalties of a batch of numbers (..., D).

        The weights are larger than those of a vector of their own by the root of how many there are, as the numbers are
        smaller, and the penalty is less by as much.
        """
        by_row = self.prior_share * self.prior_of_projections * x.shape[:-1].numel()
        decays = [2 * (self.reg + (by_row if of_it else 0.0)) / len(weight) for of_it in (True, self.prior_of_weights)]
        return tuple(Decayed.apply(one, decay) for one, decay in zip((projection, weight), decays, strict=True))

    def _decay(self, at: Tensor, codes: Tensor) -> Tensor | float:
        """What part of itself each row that is looked up for some rows of codes adds to its gradient."""
        if not self.training:
            return 0.0
        by_row = 2 * self.reg / max(1, codes.shape[:-1].numel())  # which an exported graph would take as fixed
        return by_row if self.prior is None else torch.add(by_row, self.prior[at], alpha=2 * self.prior_share)

    def set_prior(
        self, prior: float, columns: Sequence[tuple[Tensor, Tensor | float]], of_weights: bool = True
    ) -> None:
        """Penalise each vector once an epoch.

        Parameters
        ----------
        prior
            The penalty of a vector's squared norm, in the scale of a step's loss; 0 is none.
        columns
            The codes that an epoch looks up, and how often it does: (n, C') of the first columns, and (n,) or the same
            for all rows; then those of the next.
        of_weights
            Whether linear weights are penalised, too.
        """
        self.prior, self.prior_of_weights, self.prior_of_projections = None, of_weights, 0.0
        if not prior:
            return
        counts, first = self.weights.weight.new_zeros(self.layout.n_rows), 0
        for codes, times in columns:
            if not first:  # each row looks all of a projection up
                n_times = times.sum().to(counts.dtype) if isinstance(times, Tensor) else times * len(codes)
                self.prior_of_projections = prior / max(float(n_times), 1e-3)
            offsets = self.offsets[first : first + codes.shape[-1]]
            for at in range(0, len(codes), ROWS_AT_ONCE):
                some = codes[at : at + ROWS_AT_ONCE]
                present = some != ABSENT
                each = times[at : at + ROWS_AT_ONCE].unsqueeze(-1) if isinstance(times, Tensor) else torch.tensor(times)
                each = each.to(counts).expand(some.shape)[present]
                counts += torch.bincount((some + offsets)[present].long(), each, len(counts)).to(counts.dtype)
            first += codes.shape[-1]
        self.prior = prior / counts.clamp_min(1e-3)

    @torch.no_grad()
    def mark_trained(self, codes: Tensor, first: int = 0) -> None:
        """Mark codes (..., C') as trained, averages aside; their columns are those from ``first`` on."""
        offsets = self.offsets[first : first + codes.shape[-1]]
        for some in codes.split(ROWS_AT_ONCE):
            self.trained[(some + offsets)[some >= UNKNOWN].long()] = True

    @torch.no_grad()
    def refresh_averages(self) -> None:
        """Set the average of each block, and every row of it that was never trained to that average."""
        for block in self.blocks:
            trained = self.trained[block]
            untrained = (~trained).nonzero().squeeze(-1)
            counted = trained.to(self.vectors.weight.dtype) / max(1, len(trained) - len(untrained))
            for table in (self.vectors.weight, self.weights.weight):
                rows = table[block]
                rows.index_copy_(0, untrained, (counted @ rows).expand(len(untrained), -1))

    def _lookup(self, at: Tensor, decay: Tensor | float, of_weights: bool) -> tuple[Tensor, Tensor]:
        """The vectors and the linear weights of rows."""
        if self.elsewhere is None or not self.training:
            return lookup(self.vectors, self.weights, at, decay, of_weights)
        return lookup_elsewhere(self.elsewhere, self.weights, at, decay, of_weights)

    def _at(self, codes: Tensor) -> Tensor:
        return codes.clamp_min(AVERAGE) + self.offsets if self._has_slots else codes + self.offsets

    def _present_alone(self, codes: Tensor, of_weights: bool) -> Fields:
        """The code fields, pooled, at a cost that follows the values that are there and not the number of slots."""
        lead, n_fields = codes.shape[:-1], len(self.layout.code_fields)
        flat = codes.reshape(-1, codes.shape[-1])
        row, column = (flat != ABSENT).nonzero(as_tuple=True)
        at = flat[row, column].clamp_min(AVERAGE) + self.offsets[column]
        vectors, weights = self._lookup(at, self._decay(at, codes), of_weights)
        place, n = row * n_fields + self.numbers[column], len(flat) * n_fields
        counts = torch.bincount(place, minlength=n).view(-1, n_fields)
        scale = counts.clamp_min(1).to(weights.dtype) ** self.powers.to(weights.dtype)
        pooled = _sums(vectors, place, n).view(-1, n_fields, vectors.shape[-1]) * scale.unsqueeze(-1)
        linear = _sums(weights, place, n).view(-1, n_fields) * scale
        shape = (*lead, n_fields)
        return Fields(pooled.view(*shape, -1), linear.view(shape), (counts > 0).view(shape))

    def _pool(self, slots: Fields) -> Fields:
        """One position for each field: the slots of a multi-sparse field are pooled."""
        parts: list[Fields] = []
        start = 0
        for field in self.layout.code_fields:
            span = slice(start, start + field.width)
            start += field.width
            part = Fields(slots.vectors[..., span, :], slots.weights[..., span], slots.present[..., span])
            parts.append(_pooled(part, self.combiner) if field.multi and self.combiner != "normal" else part)
        return Fields(
            torch.cat([part.vectors for part in parts], -2),
            torch.cat([part.weights for part in parts], -1),
            torch.cat([part.present for part in parts], -1),
        )


def _sums(values: Tensor, place: Tensor, n: int) -> Tensor:
    """The sum of the values at each of n places."""
    sums = values.new_zeros(n, *values.shape[1:])
    if values.device.type == "cpu":
        return sums.index_add(0, place, values)
    return sums.index_put((place,), values, accumulate=True)  # which sorts: sums do not depend on the order of threads


def _pooled(slots: Fields, combiner: str) -> Fields:
    n = slots.present.sum(-1, keepdim=True)
    power = POWERS[combiner]
    scale = n.clamp_min(1).to(slots.weights.dtype) ** power
    vectors = slots.vectors.sum(-2, keepdim=True) * scale.unsqueeze(-1)
    return Fields(vectors, slots.weights.sum(-1, keepdim=True) * scale, n > 0)


def field_numbers(
    user: SideLayout, item: SideLayout, combiner: Combiner, has_history: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The field number of each position of both sides, the item's counted on from the user's.

    What users consumed stands last on their side.
    """
    of_user = user.numbers(combiner)
    if has_history:
        of_user = (*of_user, max(of_user, default=-1) + 1)
    return of_user, item.numbers(combiner, first=max(of_user, default=-1) + 1)
