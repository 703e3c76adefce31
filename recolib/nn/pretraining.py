"""A start from a factorization machine that was trained before."""

from __future__ import annotations

import torch

from recolib.nn.network import Network


@torch.no_grad()
def start_from_pairs(network: Network, trained: Network) -> None:
    """Give a fresh network the vectors, linear weights and w0 of a trained one of linear weights and pairs.

    In evaluation the pairs of ``trained`` have factors and a constant, from its batch norm. The constant goes into w0.
    The factors go into a component that can apply them, and else, as their roots, into the vectors. Attention starts
    equal for all pairs, and perceptrons beside the pairs start at zero. So the network starts with the scores of
    ``trained``, wherever no field is absent and it has all pairs; only a perceptron over the sum of the pairs starts
    at random.

    Raises
    ------
    ValueError
        If ``trained`` is no factorization machine, if ``network`` is one or has no term made of pairs, or if the
        vectors would have to take a negative factor.
    """
    factors = [found for term in trained.terms if (found := term.pair_factors()) is not None]
    if len(factors) != 1 or len(trained.terms) != 2:  # the other is the first-order term
        raise ValueError("init_from must be a factorization machine: linear weights and the sum over all pairs")
    if len(network.terms) == 2 and any(term.pair_factors() is not None for term in network.terms):
        raise ValueError("a factorization machine does not start from another: call fit on that one again")
    if not any(term.made_of_pairs for term in network.terms):
        raise ValueError("init_from is for a model with a term made of pairs of fields, and this one has none")
    scale, shift = (one.to(network.device) for one in factors[0])
    network.user.load_state_dict(trained.user.state_dict())
    network.item.load_state_dict(trained.item.state_dict())
    network.bias.copy_(trained.bias + shift)
    if any([term.start_as_pairs(scale) for term in network.terms]):  # noqa: C419 - all of them start
        return
    n_negative = int((scale < 0).sum())
    if n_negative:
        raise ValueError(
            f"the batch norm of init_from turns the sign of {n_negative} of {len(scale)} elements of the pairs' "
            "products, which no vectors can: train it with use_bn=False"
        )
    for embedding in (network.user, network.item):
        for vectors in (embedding.vectors.weight, embedding.dense_vectors):
            vectors.mul_(scale.sqrt())
