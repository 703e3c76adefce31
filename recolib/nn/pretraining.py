"""A start from a factorization machine that was trained before."""

from __future__ import annotations

import torch

from recolib.nn.components import AttentivePairs, Pairwise, Pooled
from recolib.nn.network import Network


@torch.no_grad()
def start_from_fm(network: Network, fm: Network) -> None:
    """Give a fresh network the vectors, linear weights and w0 of a factorization machine, and its batch norm's effect.

    In evaluation batch norm multiplies the elements of the pairs' products and adds a constant. The constant
    goes into w0. The factors go where the network has a place for them, and else, as their roots, into the
    vectors. Attentive pairs start with equal attention and perceptrons in silence, so that the network scores as the
    FM does wherever no field is absent and all pairs of an FM are pairs of the network; only NFM's perceptron, which
    stands where the FM's sum stood, starts by chance.

    Raises
    ------
    ValueError
        If one is no FM, the other has no pairs of an FM's kind, or the vectors cannot take a factor below 0.
    """
    pairs = [component for component in fm.components if isinstance(component, Pairwise)]
    if len(pairs) != 1 or len(fm.components) != 2:  # besides the first-order term
        raise ValueError("init_from must be an FM")
    if len(network.components) == 2 and isinstance(network.components[1], Pairwise):
        raise ValueError("an FM does not start from an FM: call fit on the first again")
    if not any(isinstance(component, Pairwise | Pooled | AttentivePairs) for component in network.components):
        raise ValueError("init_from is for AFM, IFM, INN, DeepIFM, DeepFM and NFM, which have the pairs of an FM")
    scale, shift = (one.to(network.device) for one in pairs[0].scale_and_shift())
    network.user.load_state_dict(fm.user.state_dict())
    network.item.load_state_dict(fm.item.state_dict())
    network.bias.copy_(fm.bias + shift)
    if any([component.start_as_fm(scale) for component in network.terms]):  # noqa: C419 - all of them start
        return
    n_negative = int((scale < 0).sum())
    if n_negative:
        raise ValueError(
            f"the FM's batch norm turns the sign of {n_negative} of {len(scale)} elements of the pairs' products, "
            "which no vectors can: train the FM with use_bn=False"
        )
    for embedding in (network.user, network.item):
        for vectors in (embedding.vectors.weight, embedding.dense_vectors):
            vectors.mul_(scale.sqrt())
