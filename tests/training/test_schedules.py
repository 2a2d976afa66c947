from __future__ import annotations

import pytest

from sae_kedro.training.schedules import lr_factor


def test_rate_rises_linearly_stays_and_falls_linearly():
    # 100 steps, warm-up 10: steps 0..9 give .1 to 1; decay 20: steps 80..99 give 1 down to 1/20
    factors = [lr_factor(step, 100, 0.1, 0.2) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and factors[4] == pytest.approx(0.5)
    assert factors[9:81] == [1.0] * 72
    assert factors[90] == pytest.approx(0.5) and factors[99] == pytest.approx(0.05)


@pytest.mark.parametrize(("n_steps", "warmup", "decay"), [(1, 0.05, 0.2), (3, 0.0, 0.0), (10, 1.0, 1.0)])
def test_every_step_of_any_run_moves(n_steps, warmup, decay):
    assert all(0 < lr_factor(step, n_steps, warmup, decay) <= 1 for step in range(n_steps))
