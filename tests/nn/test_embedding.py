from __future__ import annotations

import pytest
import torch

import recolib.nn.embedding
from recolib.data.rows import ABSENT, AVERAGE, UNKNOWN, Rows
from recolib.nn import CodeField, FieldEmbedding, SideLayout
from recolib.nn.embedding import field_numbers
from recolib.nn.lookup import lookup

DIM = 3
ID, GENRES = CodeField(4), CodeField(5, width=3, multi=True)


def rows_of(*codes, dense=()) -> Rows:
    numbers = torch.tensor(dense, dtype=torch.float32) if dense else torch.empty(len(codes), 0)
    return Rows(torch.tensor(codes, dtype=torch.int32), numbers)


def filled(layout: SideLayout, combiner="sqrtn", **others) -> FieldEmbedding:
    """An embedding whose weights are all random."""
    torch.manual_seed(0)
    embedding = FieldEmbedding(layout, DIM, combiner, **others)
    with torch.no_grad():
        for parameter in embedding.parameters():
            parameter.normal_()
    return embedding


def of_id(embedding: FieldEmbedding, code: int):
    return embedding.vectors.weight[1 + code], embedding.weights.weight[1 + code, 0]


def of_genre(embedding: FieldEmbedding, code: int):
    start = ID.n_values + 2
    return embedding.vectors.weight[start + 1 + code], embedding.weights.weight[start + 1 + code, 0]


@pytest.mark.parametrize(("combiner", "by"), [("sum", 1.0), ("mean", 2.0), ("sqrtn", 2**0.5)])
def test_slots_that_are_present_are_pooled(combiner, by):
    embedding = filled(SideLayout((ID, GENRES)), combiner)
    fields = embedding(rows_of([2, 1, ABSENT, 4]))
    assert fields.vectors.shape == (1, 2, DIM)
    (one, its_weight), (four, other_weight) = of_genre(embedding, 1), of_genre(embedding, 4)
    torch.testing.assert_close(fields.vectors[0, 1], (one + four) / by)
    torch.testing.assert_close(fields.weights[0, 1], (its_weight + other_weight) / by)
    torch.testing.assert_close(fields.vectors[0, 0], of_id(embedding, 2)[0])
    assert fields.present.tolist() == [[True, True]]


def test_normal_keeps_each_slot_as_a_vector_of_its_own():
    embedding = filled(SideLayout((ID, GENRES)), "normal")
    fields = embedding(rows_of([2, 1, ABSENT, 4]))
    expected = torch.stack(
        [of_id(embedding, 2)[0], of_genre(embedding, 1)[0], torch.zeros(DIM), of_genre(embedding, 4)[0]]
    )
    torch.testing.assert_close(fields.vectors[0], expected)
    assert fields.weights[0, 2].item() == 0.0
    assert fields.present.tolist() == [[True, True, False, True]]


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize(("shape", "sparse", "reg"), [((7,), False, 0.0), ((5, 2), True, 0.1), ((3, 4), False, 0.1)])
def test_long_lists_are_pooled_as_short_ones_at_the_cost_of_the_values_that_are_there(
    monkeypatch, combiner, shape, sparse, reg
):
    layout = SideLayout((ID, CodeField(9, width=40, multi=True), GENRES), 1)
    torch.manual_seed(0)
    codes = torch.randint(AVERAGE, 5, (*shape, 44), dtype=torch.int32)
    gone = torch.arange(44) > torch.randint(1, 6, (*shape, 1))
    codes = torch.where(gone, ABSENT, codes)
    rows, looked_up, results = Rows(codes, torch.randn(*shape, 1)), [], []

    def counted(vectors, weights, at, *decay):
        looked_up.append(at.numel())
        return lookup(vectors, weights, at, *decay)

    monkeypatch.setattr(recolib.nn.embedding, "lookup", counted)
    for long in (1000, 8):
        monkeypatch.setattr(recolib.nn.embedding, "LONG", long)
        embedding = filled(layout, combiner)
        embedding.reg = reg
        embedding.vectors.sparse = embedding.weights.sparse = sparse
        fields = embedding(rows)
        (fields.vectors.square().sum() + (fields.weights * fields.present).sum()).backward()
        gradients = [parameter.grad.to_dense() for parameter in embedding.parameters()]
        results.append([fields.vectors, fields.weights, fields.present, *gradients])
    torch.testing.assert_close(results[0], results[1])
    assert looked_up == [codes.numel(), int((codes != ABSENT).sum())]


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn", "normal"])
def test_an_absent_slot_receives_no_gradient(combiner):
    embedding = filled(SideLayout((ID, GENRES)), combiner)
    fields = embedding(rows_of([2, 1, ABSENT, 4], [3, ABSENT, ABSENT, ABSENT]))
    (fields.vectors.square().sum() + fields.vectors.sum() + fields.weights.sum()).backward()
    start = ID.n_values + 2
    touched = {1 + 2, 1 + 3, start + 1 + 1, start + 1 + 4}
    for table in (embedding.vectors, embedding.weights):
        assert set(table.weight.grad.abs().sum(-1).nonzero().flatten().tolist()) == touched


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn", "normal"])
def test_a_group_whose_slots_are_all_absent_is_zero(combiner):
    fields = filled(SideLayout((ID, GENRES)), combiner)(rows_of([2, ABSENT, ABSENT, ABSENT]))
    assert fields.vectors[0, 1:].abs().max().item() == 0.0
    assert fields.weights[0, 1:].abs().max().item() == 0.0
    assert not fields.present[0, 1:].any()


def test_an_unknown_value_of_a_group_counts_and_has_a_vector():
    embedding = filled(SideLayout((ID, GENRES)), "mean")
    fields = embedding(rows_of([2, 1, UNKNOWN, ABSENT]))
    unknown, known = of_genre(embedding, UNKNOWN)[0], of_genre(embedding, 1)[0]
    torch.testing.assert_close(fields.vectors[0, 1], (known + unknown) / 2)
    alone = embedding(rows_of([2, UNKNOWN, ABSENT, ABSENT]))
    torch.testing.assert_close(alone.vectors[0, 1], unknown)
    assert alone.present[0, 1]


def test_where_the_slots_stand_does_not_matter():
    embedding = filled(SideLayout((GENRES,)), "sqrtn")
    fields = embedding(rows_of([1, 4, ABSENT], [ABSENT, 1, 4], [4, ABSENT, 1]))
    torch.testing.assert_close(fields.vectors[0], fields.vectors[1])
    torch.testing.assert_close(fields.vectors[0], fields.vectors[2])


def test_fields_have_blocks_of_their_own():
    """The same code in two fields is two vectors, the last code of a field not the first of the next."""
    layout = SideLayout((CodeField(2), CodeField(3), CodeField(1)))
    embedding = filled(layout)
    codes = [[a, b, c] for a in range(-1, 3) for b in range(-1, 4) for c in range(-1, 2)]
    vectors = embedding(rows_of(*codes)).vectors
    distinct = [set(map(tuple, vectors[:, field].tolist())) for field in range(3)]
    assert [len(one) for one in distinct] == [4, 5, 3]
    assert len(set.union(*distinct)) == 12 == embedding.vectors.num_embeddings


def test_a_number_scales_its_vector_and_weight():
    embedding = filled(SideLayout((ID,), 2))
    fields = embedding(rows_of([1], [1], dense=[[2.0, -0.5], [0.0, 1.0]]))
    torch.testing.assert_close(fields.vectors[0, 1], 2.0 * embedding.dense_vectors[0])
    torch.testing.assert_close(fields.vectors[0, 2], -0.5 * embedding.dense_vectors[1])
    torch.testing.assert_close(fields.weights[0, 1:], torch.tensor([2.0, -0.5]) * embedding.dense_weights)
    assert fields.vectors[1, 1].abs().max().item() == 0.0
    assert fields.present.tolist() == [[True, True, True]] * 2


VECTORS = SideLayout((ID,), 9, vectors=((1, 5), (6, 8)))
"""A number, a vector of four, a number, a vector of two, and a number."""


def test_a_vector_is_projected_as_one_field():
    embedding, x = filled(VECTORS), torch.randn(7, 9)
    fields = embedding(Rows(torch.zeros(7, 1, dtype=torch.int32), x))
    assert VECTORS.numbers("sqrtn") == (0, 1, 2, 3, 4, 5)
    assert fields.vectors.shape == (7, 6, DIM)
    assert fields.present.all()
    projection, weight = embedding.dense_vectors, embedding.dense_weights
    for at, (begin, end) in enumerate([(0, 1), (1, 5), (5, 6), (6, 8), (8, 9)], start=1):
        torch.testing.assert_close(fields.vectors[:, at], x[:, begin:end] @ projection[begin:end])
        torch.testing.assert_close(fields.weights[:, at], x[:, begin:end] @ weight[begin:end])


def test_vectors_alone_are_fields_and_keep_leading_dimensions():
    embedding = filled(SideLayout((), 4, vectors=((0, 2), (2, 4))))
    fields = embedding(Rows(torch.empty(2, 3, 0, dtype=torch.int32), torch.randn(2, 3, 4)))
    assert fields.vectors.shape == (2, 3, 2, DIM)
    assert fields.weights.shape == fields.present.shape == (2, 3, 2)


@pytest.mark.parametrize("width", [2, 30, 500])
def test_a_projected_vector_starts_in_the_scale_of_other_vectors(width):
    torch.manual_seed(0)
    embedding = FieldEmbedding(SideLayout((CodeField(1000),), width, ((0, width),)), 64, init_std=0.3)
    x = torch.randn(1000, width)
    x /= x.abs().sum(1).mean()  # as data is
    found = embedding(Rows(torch.arange(1000, dtype=torch.int32)[:, None], x)).vectors.std((0, 2))
    assert found.tolist() == pytest.approx([0.3, 0.3 * (torch.pi / 2) ** 0.5], rel=0.15)


@pytest.mark.parametrize("of_weights", [True, False])
def test_projections_have_the_penalties_of_what_is_looked_up(of_weights):
    """An epoch of two batches has the prior once, and each batch has the whole of ``reg``."""
    plain, embedding = filled(VECTORS), filled(VECTORS)
    codes, x = torch.tensor([[1], [1], [2]], dtype=torch.int32), torch.randn(3, 9)
    embedding.reg = 0.25
    embedding.set_prior(1.5, [(codes, 1.0)], of_weights=of_weights)
    for one in (plain, embedding):
        for batch in (slice(0, 2), slice(2, 3)):
            fields = one(Rows(codes[batch], x[batch]))
            (fields.vectors.sum() + fields.weights.sum()).backward()
    share = torch.zeros(9)
    share[1:5], share[6:8] = 1 / 4, 1 / 2
    both = 2 * 1.5 + 2 * 2 * 0.25
    more = embedding.dense_vectors.grad - plain.dense_vectors.grad
    torch.testing.assert_close(more, both * share[:, None] * plain.dense_vectors)
    more = embedding.dense_weights.grad - plain.dense_weights.grad
    torch.testing.assert_close(more, (both if of_weights else 2 * 2 * 0.25) * share * plain.dense_weights)
    embedding.zero_grad()
    fields = embedding.eval()(Rows(codes, x))
    (fields.vectors.sum() + fields.weights.sum()).backward()
    torch.testing.assert_close(embedding.dense_vectors.grad, plain.dense_vectors.grad)


@pytest.mark.parametrize("times", [2.0, torch.tensor([1.0, 3.0, 2.0])], ids=["alike", "each"])
def test_the_prior_of_projections_counts_how_often_rows_are_looked_up(times):
    embedding = filled(VECTORS)
    embedding.set_prior(1.5, [(torch.tensor([[1], [1], [2]]), times)])
    assert float(embedding.prior_of_projections) == pytest.approx(1.5 / 6)
    embedding.set_prior(0.0, [(torch.tensor([[1]]), 1.0)])
    assert embedding.prior_of_projections == 0.0


def test_leading_dimensions_are_kept():
    layout = SideLayout((ID, GENRES), 1)
    embedding = filled(layout)
    codes = torch.randint(0, 5, (2, 3, 7, 4), dtype=torch.int32)
    dense = torch.randn(2, 3, 7, 1)
    fields = embedding(Rows(codes, dense))
    assert fields.vectors.shape == (2, 3, 7, 3, DIM)
    assert fields.weights.shape == fields.present.shape == (2, 3, 7, 3)
    torch.testing.assert_close(fields.vectors[1, 2, 6], embedding(Rows(codes[1, 2, 6], dense[1, 2, 6])).vectors)


def test_a_side_of_numbers_alone_has_fields():
    fields = filled(SideLayout((), 2))(Rows(torch.empty(5, 0, dtype=torch.int32), torch.randn(5, 2)))
    assert fields.vectors.shape == (5, 2, DIM)


@pytest.mark.parametrize("layout", [SideLayout((ID,)), SideLayout((ID, GENRES))], ids=["sparse", "multi"])
def test_after_settling_the_average_reads_the_mean_of_the_trained_rows(layout):
    embedding = filled(layout)
    trained = [[1, 2, 5, ABSENT], [3, 2, ABSENT, ABSENT]]
    width = 1 if layout == SideLayout((ID,)) else 4
    embedding.mark_trained(rows_of(*[row[:width] for row in trained]).codes)
    expected = (of_id(embedding, 1)[0] + of_id(embedding, 3)[0]) / 2
    of_genres = (of_genre(embedding, 2)[0] + of_genre(embedding, 5)[0]) / 2 if width > 1 else None
    weight = (of_id(embedding, 1)[1] + of_id(embedding, 3)[1]) / 2
    embedding.refresh_averages()
    fields = embedding(rows_of([AVERAGE, AVERAGE, ABSENT, ABSENT][:width]))
    torch.testing.assert_close(fields.vectors[0, 0], expected)
    torch.testing.assert_close(fields.weights[0, 0], weight)
    if width > 1:
        torch.testing.assert_close(fields.vectors[0, 1], of_genres)


def test_settling_gives_untrained_rows_the_mean_and_leaves_trained_ones():
    embedding = filled(SideLayout((ID, GENRES)))
    embedding.mark_trained(rows_of([1, 2, 5, ABSENT], [3, 2, ABSENT, ABSENT]).codes)
    before = embedding.vectors.weight.detach().clone()
    embedding.refresh_averages()
    after = embedding.vectors.weight
    for code in (1, 3):
        assert torch.equal(after[1 + code], before[1 + code])
    for code in (UNKNOWN, 2, 4):
        torch.testing.assert_close(after[1 + code], (before[2] + before[4]) / 2)
    start = ID.n_values + 2
    for code in (UNKNOWN, 1, 3, 4):
        torch.testing.assert_close(after[start + 1 + code], (before[start + 3] + before[start + 6]) / 2)


def test_the_unknown_row_keeps_what_training_taught_it():
    embedding = filled(SideLayout((ID,)))
    embedding.mark_trained(rows_of([UNKNOWN], [1]).codes)
    before = embedding.vectors.weight.detach().clone()
    embedding.refresh_averages()
    assert torch.equal(embedding.vectors.weight[1 + UNKNOWN], before[1 + UNKNOWN])
    torch.testing.assert_close(embedding.vectors.weight[0], (before[1] + before[2]) / 2)


def test_settling_twice_is_settling_once():
    embedding = filled(SideLayout((ID, GENRES)))
    embedding.mark_trained(rows_of([1, 2, 5, ABSENT], [3, 2, ABSENT, ABSENT]).codes)
    embedding.refresh_averages()
    once = embedding.vectors.weight.detach().clone()
    embedding.refresh_averages()
    assert torch.equal(embedding.vectors.weight, once)


def test_a_field_without_trained_rows_settles_at_zero():
    embedding = filled(SideLayout((ID, GENRES)))
    embedding.mark_trained(rows_of([1, ABSENT, ABSENT, ABSENT]).codes)
    embedding.refresh_averages()
    assert embedding.vectors.weight[ID.n_values + 2 :].abs().max().item() == 0.0
    torch.testing.assert_close(embedding.vectors.weight[0], embedding.vectors.weight[2])


def test_embedding_dropout_is_for_training_alone():
    embedding = filled(SideLayout((ID, GENRES), 1), dropout=0.4)
    plain = filled(SideLayout((ID, GENRES), 1))
    rows = rows_of(*[[1, 2, 5, ABSENT]] * 2000, dense=[[1.5]] * 2000)
    kept = plain(rows)
    assert torch.equal(embedding.eval()(rows).vectors, kept.vectors)
    dropped = embedding.train()(rows)
    hidden = dropped.vectors == 0
    assert hidden.float().mean().item() == pytest.approx(0.4, abs=0.02)
    torch.testing.assert_close(
        dropped.vectors[~hidden], kept.vectors[~hidden] / 0.6, rtol=1e-4, atol=0
    )  # 0.4 to 16 bits
    assert torch.equal(dropped.weights, kept.weights)


@pytest.mark.parametrize("std", [0.01, 0.3])
def test_vectors_start_as_noise_and_linear_weights_at_zero(std):
    torch.manual_seed(0)
    embedding = FieldEmbedding(SideLayout((CodeField(2000), GENRES), 400), 16, init_std=std)
    for vectors in (embedding.vectors.weight, embedding.dense_vectors):
        assert vectors.std().item() == pytest.approx(std, rel=0.05)
        assert vectors.mean().item() == pytest.approx(0, abs=0.05 * std)
    assert embedding.weights.weight.abs().max().item() == 0.0
    assert embedding.dense_weights.abs().max().item() == 0.0


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("layout", [SideLayout((ID, GENRES)), SideLayout((ID, CodeField(5)))], ids=["slots", "none"])
def test_reg_adds_the_gradient_of_the_mean_squared_norm_of_what_is_present(sparse, layout):
    embedding = filled(layout)
    embedding.vectors.sparse = embedding.weights.sparse = sparse
    slots = layout.code_fields[1].width == 3
    rows = rows_of([2, 1, ABSENT, 4], [2, ABSENT, ABSENT, ABSENT]) if slots else rows_of([2, 1], [2, 3])
    pull = torch.randn(2, 2, 3)

    def gradients(reg: float) -> list[torch.Tensor]:
        embedding.zero_grad()
        embedding.reg = reg
        fields = embedding(rows)
        (fields.vectors * pull[..., : fields.vectors.shape[-1]]).sum().backward()
        return [table.weight.grad.to_dense().clone() for table in (embedding.vectors, embedding.weights)]

    plain, more = gradients(0.0), gradients(0.3)
    at = (rows.codes.clamp_min(-1).long() + embedding.offsets)[rows.codes != ABSENT]
    norm = sum(table.weight[at].square().sum() for table in (embedding.vectors, embedding.weights)) / 2
    expected = torch.autograd.grad(0.3 * norm, [embedding.vectors.weight, embedding.weights.weight])
    for one, other, of_norm in zip(more, plain, expected, strict=True):
        torch.testing.assert_close(one, other + of_norm)
    embedding.eval()
    for one, other in zip(gradients(0.3), plain, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("combiner", "user", "item"),
    [("sqrtn", (0, 1, 2, 3), (4, 5)), ("normal", (0, 1, 1, 1, 2, 3), (4, 5))],
)
def test_field_numbers_count_on_from_the_user_to_the_item(combiner, user, item):
    """The slots of a group that is not pooled are positions of one field."""
    assert field_numbers(SideLayout((ID, GENRES), 2), SideLayout((ID,), 1), combiner) == (user, item)
