"""Linear layers where no gradient is wanted, with their activation in the same pass.

MKL has no AVX-512 for products of matrices on AMD. oneDNN has it, and takes half the time there.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

N_ROWS = 256
"""Rows from which on oneDNN is faster: a call of it takes ten microseconds longer."""
_HAS_BOTH = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """W x + b for each x, (..., K) -> (..., H); with ``relu``, at least 0."""
    if not _by_onednn(input, weight):
        output = F.linear(input, weight, bias)
        return output.relu_() if relu else output
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        input, weight, bias = input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return cast("Tensor", torch.ops.mkldnn._linear_pointwise(input, weight, bias, "relu" if relu else "none", [], ""))


def _by_onednn(input: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN multiplies. It keeps nothing for gradients, and one output is a vector's product."""
    return (
        _HAS_BOTH
        and not torch.is_grad_enabled()
        and input.device.type == "cpu"
        and weight.dtype == torch.float32
        and len(weight) > 1
        and input.shape[:-1].numel() >= N_ROWS
    )
