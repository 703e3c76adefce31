"""Learning-rate schedules: what each says, and that each step of a fit goes by it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_world

from recolib.algorithms import FM
from recolib.training.optimizers import Optimizer, Rates
from recolib.training.schedules import SCHEDULES, WARMUP, as_schedule, cosine, linear, warmup_cosine

LR = 0.02


def rates_of(monkeypatch: pytest.MonkeyPatch, n_fits: int = 1, **arguments: Any) -> list[float]:
    """The learning rate of each step."""
    used: list[float] = []
    step = Optimizer.step

    def noting(self: Optimizer) -> None:
        used.append(self.rates.lr)
        step(self)

    data, info = make_world("ranking", "pure").build()
    settings = {"embed_size": 4, "n_epochs": 3, "lr": LR, "batch_size": 128} | arguments.pop("settings", {})
    model = FM("ranking", info, num_neg=1, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(Optimizer, "step", noting)
        for _ in range(n_fits):
            model.fit(data, neg_sampling=True, verbose=0, **arguments)
    return used


@pytest.mark.parametrize("name", SCHEDULES)
@given(progress=st.floats(0, 1, exclude_max=True))
def test_factors_lie_between_none_and_all(name, progress):
    assert 0 <= SCHEDULES[name](progress) <= 1


def test_schedules_at_places_worked_by_hand():
    assert [linear(at) for at in (0.0, 0.25, 0.5)] == [1.0, 0.75, 0.5]
    assert [cosine(at) for at in (0.0, 1 / 3, 0.5)] == pytest.approx([1.0, 0.75, 0.5])
    assert [warmup_cosine(at) for at in (0.0, WARMUP / 2, WARMUP)] == pytest.approx([0.0, 0.5, 1.0])
    assert warmup_cosine(WARMUP + (1 - WARMUP) / 2) == pytest.approx(0.5)
    for schedule in SCHEDULES.values():
        assert schedule(1 - 1e-9) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_step_goes_by_the_share_of_the_steps_before_it(name, monkeypatch):
    used = rates_of(monkeypatch, lr_schedule=name)
    assert len(used) > 6
    assert used == pytest.approx([LR * SCHEDULES[name](at / len(used)) for at in range(len(used))])


def test_each_fit_is_a_course_of_its_own(monkeypatch):
    used = rates_of(monkeypatch, n_fits=2, lr_schedule="linear")
    half = len(used) // 2
    assert used[half:] == pytest.approx(used[:half])


def test_a_schedule_stands_beside_the_decay_of_epochs(monkeypatch):
    used = np.array(rates_of(monkeypatch, lr_schedule="cosine", settings={"lr_decay": 0.5}))
    plain = np.array(rates_of(monkeypatch, lr_schedule="cosine")).reshape(3, -1)
    np.testing.assert_allclose(used.reshape(3, -1), plain * [[1], [0.5], [0.25]])


def test_a_function_is_a_schedule_and_sees_progress_below_1(monkeypatch):
    seen: list[float] = []

    def third(progress: float) -> float:
        seen.append(progress)
        return 1 / 3

    used = rates_of(monkeypatch, lr_schedule=third)
    assert used == pytest.approx([LR / 3] * len(used))
    assert 0 <= min(seen) <= max(seen) < 1


def test_without_a_schedule_no_step_is_given_rates(monkeypatch):
    adopted: list[Rates] = []
    adopt = Optimizer.set_rates
    monkeypatch.setattr(Optimizer, "set_rates", lambda self, rates: (adopted.append(rates), adopt(self, rates)))
    rates_of(monkeypatch)
    assert len(adopted) == 3  # one an epoch


def test_a_schedule_of_ones_changes_no_bit():
    data, info = make_world("ranking", "pure").build()
    settings: dict[str, Any] = {"embed_size": 4, "n_epochs": 2, "lr": LR}
    models = [
        FM("ranking", info, num_neg=1, **settings).fit(data, True, verbose=0, lr_schedule=schedule)
        for schedule in (None, lambda progress: 1.0)
    ]
    states = [model._state for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("schedule", "kind", "match"),
    [
        ("cosin", ValueError, r"lr_schedule must be one of \['linear', 'cosine', 'warmup_cosine'\] or a function"),
        (3, TypeError, "lr_schedule must be one of .* got 3"),
        (True, TypeError, "lr_schedule must be one of"),
        (lambda progress: -progress, ValueError, r"at least 0, and gave -0\.125 for 0\.125"),
        (lambda progress: math.nan, ValueError, "finite numbers .* gave nan for 0"),
        (lambda progress: math.inf, ValueError, "finite numbers .* gave inf for 0"),
        (lambda progress: "half", TypeError, "must give a number, and gave 'half' for 0"),
        (lambda progress: None, TypeError, "must give a number, and gave None for 0"),
    ],
)
def test_what_is_no_schedule_is_refused_before_any_work(schedule, kind, match):
    data, info = make_world("ranking", "pure").build()
    model = FM("ranking", info, num_neg=1)
    with pytest.raises(kind, match=match):
        model.fit(data, neg_sampling=True, verbose=0, lr_schedule=schedule)
    assert not model._state
    with pytest.raises(kind):
        as_schedule(schedule)


def test_numbers_of_numpy_are_factors():
    assert as_schedule(np.cos)(0.0) == 1.0
