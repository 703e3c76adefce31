from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recolib.nn import products
from recolib.nn.products import N_MULTIPLIED, linear, weight_gradient

N_ROWS = N_MULTIPLIED // (7 * 5)
SHAPES = [(N_ROWS + 1, 7), (3, N_ROWS, 7), (N_ROWS - 1, 7), (1, 7), (0, 7), (2, N_ROWS // 2, 3, 7)]


def layer(n_out: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n_out, 7, generator=generator), torch.randn(n_out, generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_out", [1, 5])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_it_is_a_linear_layer_and_its_activation(shape: tuple[int, ...], n_out: int, relu: bool, bias: bool):
    (weight, of_bias), input = layer(n_out), torch.randn(shape)
    expected = F.linear(input, weight, of_bias if bias else None)
    actual = linear(input, weight, of_bias if bias else None, relu)
    torch.testing.assert_close(actual, expected.relu() if relu else expected)


@torch.inference_mode()
def test_what_is_not_contiguous_is_multiplied_as_it_is():
    weight, bias = layer()
    input, turned = torch.randn(7, 2 * N_ROWS + 2).T[::2], torch.randn(7, 5).T
    torch.testing.assert_close(linear(input, weight, bias), F.linear(input, weight, bias))
    torch.testing.assert_close(linear(input, turned, bias), F.linear(input, turned, bias))
    stretched = torch.randn(7).expand(N_ROWS + 1, 7)
    torch.testing.assert_close(linear(stretched, weight, bias), F.linear(stretched, weight, bias))


@torch.inference_mode()
def test_a_row_has_the_same_output_alone_and_among_many():
    weight, bias = layer()
    rows = torch.randn(N_ROWS + 1000, 7)
    whole = linear(rows, weight, bias, relu=True)
    for some in (slice(1), slice(500, 757), slice(1, N_ROWS + 1000)):
        torch.testing.assert_close(linear(rows[some], weight, bias, relu=True), whole[some], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_rows", [N_ROWS + 1, 3])
@torch.inference_mode()
def test_under_autocast_it_multiplies_in_bfloat16(n_rows: int):
    (weight, bias), input = layer(), torch.randn(n_rows, 7)
    with torch.autocast("cpu", torch.bfloat16):
        expected, actual = F.linear(input, weight, bias), linear(input, weight, bias)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual, expected)


def test_gradients_pass():
    (weight, bias), input = layer(), torch.randn(N_ROWS + 1, 7)
    weight.requires_grad_()
    linear(input, weight, bias, relu=True).sum().backward()
    of_rows = (F.linear(input, weight.detach(), bias) > 0).float()
    torch.testing.assert_close(weight.grad, of_rows.T @ input)


@pytest.mark.parametrize("n_rows", [N_ROWS + 1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@torch.inference_mode()
def test_the_gradient_of_a_weight_is_a_sum_over_rows(n_rows: int, dtype: torch.dtype):
    gradient, input = torch.randn(n_rows, 5).to(dtype), torch.randn(n_rows, 7).to(dtype)
    actual = weight_gradient(gradient, input)
    assert actual.dtype == dtype
    digits = 1e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(
        actual.double(), gradient.double().T @ input.double(), rtol=digits, atol=digits * n_rows**0.5
    )


@torch.inference_mode()
def test_without_both_libraries_torch_multiplies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(products, "_HAS_BOTH", False)
    (weight, bias), input = layer(), torch.randn(N_ROWS + 1, 7)
    assert torch.equal(linear(input, weight, bias), F.linear(input, weight, bias))


@torch.inference_mode()
def test_doubles_stay_doubles():
    (weight, bias), input = layer(), torch.randn(N_ROWS + 1, 7).double()
    assert linear(input, weight.double(), bias.double()).dtype == torch.float64
