"""Linear layers where no gradient is wanted, with their activation in the same pass.

MKL has no AVX-512 for products of matrices on AMD. oneDNN has it, and takes half the time there.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

N_MULTIPLIED = 2**20
"""Multiplications from which on oneDNN is faster: a call of it takes ten microseconds longer."""
DILATION = (2, 1)
"""Changes nothing in a width of 1, but lets torch take oneDNN for the convolution of a single image."""
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


def weight_gradient(gradient: Tensor, input: Tensor) -> Tensor:
    """A linear layer's, (H, K), from that of its output, (n, H), and its input, (n, K)."""
    if input.dtype != torch.float32 or not _by_onednn(input, gradient.T):
        return gradient.T @ input
    kernel = gradient.new_empty(gradient.shape[1], input.shape[1], 1, 1)  # whose shape alone is looked at
    rows = [one[None, None].permute(0, 3, 1, 2) for one in (gradient, input)]  # as a convolution of width 1 sees them
    plain = (None, (1, 1), (0, 0), DILATION, False, (0, 0), 1, (False, True, False))
    return torch.ops.aten.convolution_backward(*rows, kernel, *plain)[1][:, :, 0, 0]


def _by_onednn(input: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN multiplies. It keeps nothing for gradients, and one output is a vector's product."""
    return (
        _HAS_BOTH
        and not torch.is_grad_enabled()
        and input.numel() * len(weight) >= N_MULTIPLIED
        and input.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and len(weight) > 1
    )
