"""A causal transformer over what the user consumed: the state after an item is what comes next."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recolib.data.rows import UNKNOWN
from recolib.nn.blocks import at_once
from recolib.nn.components.component import Component, InnerProduct, cross
from recolib.nn.dropout import Dropout, dropout
from recolib.nn.fields import Fields, NetworkSide, State
from recolib.nn.past import PaddedItems, PastItems
from recolib.randomness import drawing_for

NUMBERS_AT_ONCE = 2**18
"""Numbers of one layer that sequences of about one length have together on a processor, 1 MB."""


@dataclass(frozen=True, eq=False)
class SequenceState(State):
    """The state after the user's last item, or the item's vector, (..., K)."""

    vector: Tensor


class SequenceEncoder(Component[SequenceState]):
    r"""⟨h(i_1, …, i_n), v_i⟩: self-attention over the items of a user, each of which sees those before it.

    .. math:: x_t = \sqrt{K} v_{i_t} + p_t, \quad
              x \leftarrow x + \mathrm{Att}(\mathrm{LN}(x)), \quad x \leftarrow x + \mathrm{FFN}(\mathrm{LN}(x)),
              \quad h = \mathrm{LN}(x_n)

    Rows whose items are the beginnings of one sequence, as those of a user's events are, go through it in one pass: the
    state after each item is that of the row that ends there. What a user consumed is padded nowhere; sequences of about
    one length are computed together.

    Parameters
    ----------
    dim
        The size K of the vectors.
    max_history
        The most items: so many places have a vector of their own, the first item's the first.
    n_layers, n_heads
        Of attention.
    dropout
        Of embedded items, of attention's and the perceptron's outputs, in training.

    References
    ----------
    Kang and McAuley, *Self-Attentive Sequential Recommendation*, ICDM 2018; the norm before each layer as in Xiong et
    al., *On Layer Normalization in the Transformer Architecture*, ICML 2020.
    """

    reads_past = True
    in_one_pass = True

    def __init__(self, dim: int, max_history: int, n_layers: int = 2, n_heads: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        if dim % n_heads:
            raise ValueError(f"n_heads={n_heads} must divide embed_size={dim}: each head has a share of a vector")
        self.max_history, self.rate = max_history, dropout
        self.places = nn.Parameter(torch.empty(max_history, dim))
        nn.init.normal_(self.places, std=0.02)
        self.layers = nn.ModuleList(CausalLayer(dim, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(dim)

    @property
    def trains_as_product(self) -> bool:
        """In training, too, the term is an inner product."""
        return True

    def encode_user(self, fields: Fields, past: PastItems) -> SequenceState:
        """The state after each row's last item; of rows without any, zero."""
        states = self._after(past)
        return SequenceState(states.view(*past.lead, states.shape[-1]))

    def encode_item(self, fields: Fields, codes: Tensor) -> SequenceState:
        """The sum of the vectors of the item's fields."""
        vectors = fields.vectors
        return SequenceState(vectors.squeeze(-2) if vectors.shape[-2] == 1 else vectors.sum(-2))

    def score(self, user: SequenceState, item: SequenceState) -> Tensor:
        """Inner products, (B, n)."""
        return cross(user.vector, item.vector)

    def inner_product(self, side: NetworkSide, state: SequenceState) -> InnerProduct:
        """The vectors are all of it."""
        return InnerProduct(state.vector, state.vector.new_zeros(state.vector.shape[:-1]))

    def _after(self, past: PastItems) -> Tensor:
        """The state after the last item of each of n rows, (n, K)."""
        dim = self.places.shape[1]
        if isinstance(past, PaddedItems):
            x = past.vectors(past.padded) * math.sqrt(dim) + self.places
            counts = (past.padded > UNKNOWN).sum(1, keepdim=True)
            last = (counts - 1).clamp_min(0).unsqueeze(-1).expand(-1, -1, dim)
            return self._through(x).gather(1, last).squeeze(1) * (counts > 0)
        with drawing_for(None):  # sequences are no rows: each process draws for its own
            return self._of_rows(past)

    def _of_rows(self, past: PastItems) -> Tensor:
        dim = self.places.shape[1]
        result = self.places.new_zeros(len(past), dim)
        rows = (past.end > past.begin).nonzero().squeeze(-1)
        if not len(rows):
            return result
        begin, end, of_row = self._sequences(past.begin[rows], past.end[rows])
        last = past.end[rows] - 1 - begin[of_row]  # the place in its sequence of each row's last item
        lengths, order = (end - begin).sort(descending=True)
        states, place_of = list[Tensor](), torch.empty_like(order)
        offset = 0
        for some in self._buckets(lengths):
            at, longest = order[some], int(lengths[some][0])
            steps = torch.arange(longest, device=at.device)
            places = (begin[at].unsqueeze(1) + steps).clamp_max((end[at] - 1).unsqueeze(1))
            vectors = past.vectors(past.codes(places)) * math.sqrt(dim) + self.places[:longest]
            states.append(self._through(vectors).flatten(0, 1))
            place_of[at] = offset + torch.arange(len(at), device=at.device) * longest
            offset += len(at) * longest
        found = torch.cat(states)[place_of[of_row] + last]
        return result.index_copy(0, rows, found)

    def _sequences(self, begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where the sequences begin and end that rows are beginnings of, and which one each row's is.

        In training a row whose past is cut at ``max_history`` has those before it in a sequence of that length; when a
        model answers each has all of its own.
        """
        if not self.training:
            both, of_row = torch.unique(torch.stack([begin, end]), dim=1, return_inverse=True)
            return both[0], both[1], of_row
        order = end.argsort()
        starts, ends = begin[order], end[order]
        is_first = torch.ones_like(ends, dtype=torch.bool)
        is_first[1:] = starts[1:] >= ends[:-1].cummax(0).values  # of another user
        user = is_first.cumsum(0) - 1
        n = int(user[-1]) + 1
        last = torch.zeros(n, dtype=ends.dtype, device=ends.device).index_reduce(0, user, ends, "amax")
        chunk = (last[user] - ends) // self.max_history
        number, of_sorted = torch.unique(user * (int(chunk.max()) + 1) + chunk, return_inverse=True)
        whole = torch.zeros(len(number), dtype=ends.dtype, device=ends.device)
        stop = whole.index_reduce(0, of_sorted, ends, "amax")
        start = (whole + stop.max()).index_reduce(0, of_sorted, starts, "amin")
        start = torch.maximum(start, stop - self.max_history)
        of_row = torch.empty_like(order)
        of_row[order] = of_sorted
        return start, stop, of_row

    def _buckets(self, lengths: Tensor) -> list[slice]:
        """Sequences that are computed together, which stand in descending order of length.

        On a processor they are of about one length; on an accelerator further calls would cost more than padding.
        """
        sizes, on_cpu = lengths.tolist(), lengths.device.type == "cpu"
        numbers, slices, start = at_once(NUMBERS_AT_ONCE, lengths.device) // self.places.shape[1], list[slice](), 0
        while start < len(sizes):
            most = min(len(sizes), start + max(1, numbers // sizes[start]))
            stop = start + 1
            while stop < most and (sizes[stop] * 4 >= sizes[start] * 3 or not on_cpu):
                stop += 1
            slices.append(slice(start, stop))
            start = stop
        return slices

    def _through(self, x: Tensor) -> Tensor:
        """The state after each item of sequences (S, T, K); an item sees those before it alone."""
        x = dropout(x, self.rate, self.training)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class CausalLayer(nn.Module):
    """Attention to what came before, and a perceptron with one hidden layer; a norm before each, a sum around it."""

    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.first, self.second = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.projections, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, dim), nn.Linear(dim, dim)
        for layer in (self.projections, self.out, self.up, self.down):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Sequences (S, T, K)."""
        queries, keys, values = self.projections(self.first(x)).unflatten(-1, (3, self.n_heads, -1)).unbind(-3)
        attended = F.scaled_dot_product_attention(
            queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), is_causal=True
        )
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(-2)))
        return x + self.dropout(self.down(self.dropout(F.relu(self.up(self.second(x))))))
