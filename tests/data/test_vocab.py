from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from worlds import HASHES_NUL

from recolib.data import DatasetPure, Vocab
from recolib.data.frame import as_values
from recolib.data.vocab import CodeToId, IdToCode

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=0 if HASHES_NUL else 1), max_size=4)
NUMERALS = st.integers(-3, 3).map(str)
LISTS = (
    st.lists(INTEGERS | TEXTS | NUMERALS, max_size=12) | st.lists(INTEGERS, max_size=12) | st.lists(TEXTS, max_size=12)
)


def in_order(values: list[int | str]) -> list[int | str]:
    """Distinct integers in order, then distinct strings in order."""
    distinct = {(type(value), value) for value in values}
    return [*sorted(v for kind, v in distinct if kind is int), *sorted(v for kind, v in distinct if kind is str)]


def codes_of(vocab: Vocab, values: list[int | str]) -> list[int]:
    return vocab.encode(as_values(values)).tolist()


def values_of(vocab: Vocab) -> list[tuple[type, int | str]]:
    """The values with their types, since 1 == True and "a" == np.str_("a")."""
    return [(type(value), value) for value in vocab.values.tolist()]


@given(LISTS)
@example(["a", "a\x00", "", "\x00"] if HASHES_NUL else [])
@example([1, "1", 1])
@example([2**63 - 1, 2**63 - 2, -(2**63)])
def test_decoding_what_was_encoded_gives_it_back(values):
    vocab = Vocab.of(as_values(values))
    codes = vocab.encode(as_values(values))
    assert codes.dtype == np.int32
    assert [(type(v), v) for v in vocab.decode(codes).tolist()] == [(type(v), v) for v in values]


@given(LISTS)
def test_codes_count_from_one_integers_in_order_then_strings_in_order(values):
    vocab = Vocab.of(as_values(values))
    expected = in_order(values)
    assert values_of(vocab) == [(type(value), value) for value in expected]
    assert codes_of(vocab, expected) == list(range(1, len(expected) + 1))
    assert len(vocab) == len(expected)


@given(LISTS, LISTS)
def test_what_is_unknown_is_zero(values, others):
    vocab = Vocab.of(as_values(values))
    known = {(type(value), value): code for code, value in enumerate(in_order(values), start=1)}
    expected = [known.get((type(other), other), 0) for other in others]
    assert codes_of(vocab, others) == expected
    assert [vocab.code(other) for other in others] == expected


@given(st.lists(LISTS, min_size=1, max_size=6))
def test_any_number_of_extensions_keeps_the_codes_and_appends_each_part_in_order(parts):
    vocab = Vocab.of(as_values(()))
    expected: list[int | str] = []
    for part in parts:
        before = vocab
        vocab = vocab.extend(as_values(part))
        known = {(type(value), value) for value in expected}
        expected += [value for value in in_order(part) if (type(value), value) not in known]
        assert values_of(vocab)[: len(before)] == values_of(before)
        assert values_of(vocab) == [(type(value), value) for value in expected]
        assert codes_of(vocab, expected) == list(range(1, len(expected) + 1))
    assert vocab.decode(np.arange(1, len(vocab) + 1)).tolist() == expected


@given(LISTS)
def test_extending_by_nothing_new_changes_nothing(values):
    vocab = Vocab.of(as_values(values))
    assert vocab.extend(as_values(values)) is vocab
    assert vocab.extend(as_values(())) is vocab


@given(LISTS, LISTS)
def test_a_vocabulary_does_not_change_when_it_is_extended(values, others):
    vocab = Vocab.of(as_values(values))
    before = values_of(vocab)
    vocab.extend(as_values(others))
    assert values_of(vocab) == before
    assert codes_of(vocab, in_order(values)) == list(range(1, len(vocab) + 1))


@given(st.lists(INTEGERS | TEXTS | NUMERALS, min_size=1, max_size=12))
def test_the_ids_of_a_frame_survive_it(users):
    frame = pd.DataFrame({"user": pd.Series(users, dtype=object), "item": 1, "label": 1})
    data, info = DatasetPure.build_trainset(frame)
    assert list(info.user2id) == in_order(users)
    back = [info.id2user[code] for code in data.user_indices.tolist()]
    assert [(type(user), user) for user in back] == [(type(user), user) for user in users]


def test_one_is_not_its_numeral():
    vocab = Vocab.of(as_values([1, 2]))
    assert codes_of(vocab, ["1", 1, "2"]) == [0, 1, 0]
    both = vocab.extend(as_values(["1", 1, "0"]))
    assert both.values.tolist() == [1, 2, "0", "1"]
    assert codes_of(both, ["1", 1]) == [4, 1]
    assert codes_of(Vocab.of(as_values(["1"])), [1, "1"]) == [0, 1]


def test_integers_stay_exact_beside_text_and_above_the_floats():
    vocab = Vocab.of(as_values([2**53, 2**53 + 1, "a"]))
    assert codes_of(vocab, [2**53 + 1, 2**53, 2**53 + 2]) == [2, 1, 0]
    assert Vocab.of(as_values([2**53, 2**53 + 1])).code(2**53 + 1) == 2


@pytest.mark.parametrize("codes", [[0], [1, 0], [3], [1, 3], [-1]])
def test_only_known_codes_are_decoded(codes):
    with pytest.raises(IndexError, match=r"codes must be in 1\.\.2, got"):
        Vocab.of(as_values(["a", "b"])).decode(np.array(codes))


def test_no_codes_decode_to_nothing():
    assert len(Vocab.of(as_values(())).decode(np.array([], int))) == 0


# ---- the mappings of a DataInfo


@given(LISTS)
def test_the_mappings_are_each_others_inverse(values):
    vocab = Vocab.of(as_values(values))
    to_code, to_id = IdToCode(vocab), CodeToId(vocab)
    assert len(to_code) == len(to_id) == len(vocab)
    assert list(to_code) == list(to_id.values()) == in_order(values)
    assert list(to_id) == list(to_code.values()) == list(range(1, len(vocab) + 1))
    assert all(to_id[to_code[value]] == value and type(to_id[to_code[value]]) is type(value) for value in values)
    assert {type(code) for code in to_code.values()} <= {int}


@pytest.mark.parametrize("values", [[1, 2, 3], ["a", "b"], [1, 2, "a", "3"], []])
@pytest.mark.parametrize("absent", [-999, 0, 4, "c", "1", "", 2**70, None, 1.5, float("nan")])
def test_ids_that_are_unknown_are_key_errors(values, absent):
    mapping = IdToCode(Vocab.of(as_values(values)))
    assert absent not in mapping
    assert mapping.get(absent) is None
    with pytest.raises(KeyError):
        mapping[absent]


@pytest.mark.parametrize("values", [[1, 2, 3], ["a", "b"], []])
@pytest.mark.parametrize("absent", [-999, -1, 0, 4])
def test_codes_that_do_not_exist_are_key_errors(values, absent):
    mapping = CodeToId(Vocab.of(as_values(values)))
    assert absent not in mapping
    with pytest.raises(KeyError, match=str(absent)):
        mapping[absent]


def test_ids_and_codes_of_numpy_are_understood():
    vocab = Vocab.of(as_values([7, "a"]))
    assert IdToCode(vocab)[np.int64(7)] == 1
    assert IdToCode(vocab)[np.str_("a")] == 2
    assert CodeToId(vocab)[np.int32(2)] == "a"


@pytest.mark.parametrize("mapping", [IdToCode, CodeToId])
def test_the_mappings_are_read_only(mapping):
    with pytest.raises(TypeError):
        mapping(Vocab.of(as_values([1])))[1] = 2


def test_a_boolean_is_no_id():
    assert True not in IdToCode(Vocab.of(as_values([1, 2])))
    assert True not in IdToCode(Vocab.of(as_values([1, "a"])))


@pytest.mark.parametrize("absent", ["a", None, (1,)])
def test_what_is_no_code_is_a_key_error(absent):
    assert absent not in CodeToId(Vocab.of(as_values([1, 2])))


def test_what_cannot_be_an_id_is_unknown():
    assert slice(0, 1) not in IdToCode(Vocab.of(as_values([1, 2])))


def test_mappings_show_themselves():
    info = DatasetPure.build_trainset(pd.DataFrame({"user": ["ann", "bob"], "item": [7, 9], "label": 1}))[1]
    assert repr(info.id2user) == "CodeToId({1: 'ann', 2: 'bob'})"
    assert repr(info.item2id) == "IdToCode({7: 1, 9: 2})"
    many = pd.DataFrame({"user": range(1000, 1090), "item": 1, "label": 1})
    shown = repr(DatasetPure.build_trainset(many)[1].id2user)
    assert shown == "CodeToId({1: 1000, 2: 1001, 3: 1002, 4: 1003, 5: 1004, … of 90})"
