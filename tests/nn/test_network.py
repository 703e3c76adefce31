from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch

import recolib.nn
from recolib import algorithms
from recolib.data.rows import Rows
from recolib.nn import CodeField, Deep, FieldEmbedding, FieldSpec, Linear, Network, Pairwise, SideLayout
from recolib.nn.components import cross


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    spec = FieldSpec((0,), (1,), 4)
    sides = (FieldEmbedding(SideLayout((CodeField(5),)), 4, init_std=0.5) for _ in range(2))
    return Network(*sides, [Linear(spec), Pairwise(spec), Deep(spec, (6, 3))]).eval()


def rows(*codes: int) -> Rows:
    return Rows(torch.tensor(codes, dtype=torch.int32)[:, None], torch.zeros(len(codes), 0))


def test_the_terms_of_a_copy_are_its_own_components(network):
    for one in (network, copy.deepcopy(network)):
        assert [*one.terms] == [*one.components]
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.components[2].rest[-1].bias.add_(1)
    other.eval()
    user, item = rows(1, 2)[:, None], rows(3, 4)[None]
    with torch.no_grad():
        torch.testing.assert_close(other(user, item), network(user, item) + 1)


def test_numbers_per_pair_are_those_of_the_widest_term(network):
    assert network.numbers_per_pair == 6
    assert Network(network.user, network.item, network.terms[:2]).numbers_per_pair == 1


def test_bfloat16_leaves_inner_products_with_a_catalogue_alone():
    user, item = torch.rand(3, 1, 8), torch.rand(1, 5, 8)
    exact = cross(user, item)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = user.squeeze(1) @ item.squeeze(0).T
        assert torch.equal(cross(user, item), exact)
        assert torch.is_autocast_enabled("cpu")
    assert not torch.equal(rounded.float(), exact)


@pytest.mark.parametrize("training", [False, True])
def test_bf16_rounds_the_perceptron(network, training):
    user, item = rows(1, 2)[:, None], rows(3, 4)[:, None]
    network.train(training)
    with torch.no_grad():
        exact = network(user, item)
        network.precision = "bf16"
        rounded = network(user, item)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.1, rtol=0.1)


def test_components_do_not_know_the_algorithms_that_use_them():
    names = re.compile(rf"\b({'|'.join([*algorithms.__all__, 'LibRecommender'])})\b")
    sources = [*Path(recolib.nn.__file__).parent.rglob("*.py")]
    assert len(sources) > 15
    for path in sources:
        without_papers = re.sub(r'References\n +-+\n.*?"""', "", path.read_text("utf-8"), flags=re.DOTALL)
        assert not names.findall(without_papers), path.name
