"""Folding in where vectors are solved for: a user with a history is one more system of the same kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from recolib.data.consumed import liked_of
from recolib.data.rows import Codes, Rows
from recolib.inference.engine import Engine
from recolib.inference.scoring import Encoded
from recolib.nn.fields import Fields
from recolib.nn.network import Systems
from recolib.training.alternating import IdVectors, PairsByRow, solve

N_STEPS = 30
"""Steps of conjugate gradients from 0: more change no digit that counts."""


@torch.no_grad()
def solve_in(engine: Engine, systems: Systems, users: Rows, codes: Codes, histories: Sequence[Codes]) -> Encoded:
    """The states of users whose vectors are solved for, from what they liked in training and what they bring.

    Parameters
    ----------
    engine, systems
        What answers, and what its vectors were solved by.
    users, codes
        Rows of the user's side with the context, (U, C), and who they are, (U,).
    histories
        Codes of what each consumed since; a user without any, who is not known, stays where they are.
    """
    network, items = engine.network, IdVectors.of(engine.network.item)
    gram = engine.gram.get("", lambda: systems.gram(items.known))
    consumed, liked = engine.data_info.user_consumed, engine.data_info.liked
    of_each = zip(codes.tolist(), histories, strict=True)
    own = [np.union1d(liked_of(consumed, liked, code), history) for code, history in of_each]
    counts, each = np.array([len(one) for one in own]), np.concatenate(own).astype(np.int64)
    which, columns = np.unique(each, return_inverse=True)
    starts = torch.from_numpy(np.append(0, np.cumsum(counts))).to(network.device)
    ones = torch.ones(len(each), device=network.device)
    pairs = PairsByRow(starts, torch.from_numpy(columns).to(network.device), ones, ones)
    vectors = gram.new_zeros(len(own), len(gram))
    solve(pairs, vectors, items.vectors[torch.from_numpy(which).to(network.device)], gram, N_STEPS)
    fields = network.user(users[:, None].to(network.device))
    has_any = torch.from_numpy(counts > 0).to(network.device)
    moved = fields.vectors.clone()
    moved[has_any, 0, 0] = vectors[has_any]  # the id is the first field
    states = network.encode_fields("user", Fields(moved, fields.weights, fields.present))
    return Encoded(states.map(lambda state: state.squeeze(1)), torch.arange(len(own), device=network.device))
