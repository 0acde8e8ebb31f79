"""The appendix's simulation: of the sweep's own settings, and computed once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.reduce import sample_size_bias
from ptl_sweep.reduce.sample_size_bias import kept_simulation

COUNTS = (20, 60)


def test_a_simulation_is_computed_once_for_each_choice_of_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    simulate = sample_size_bias.simulate

    def counted(*words: Any, **named: Any) -> Any:
        calls.append(named["settings"].shrinkage)
        return simulate(*words, **named)

    monkeypatch.setattr(sample_size_bias, "simulate", counted)
    first = kept_simulation(tmp_path, 6, COUNTS, AnalysisConfig())
    again = kept_simulation(tmp_path, 6, COUNTS, AnalysisConfig(num_resamples=200))
    np.testing.assert_array_equal([row[1:] for row in first], [row[1:] for row in again])
    other = kept_simulation(tmp_path, 6, COUNTS, AnalysisConfig(shrinkage="ledoit_wolf"))
    assert calls == ["oas", "ledoit_wolf"]
    assert [row.shrunk for row in other] != [row.shrunk for row in first]
    for path in (tmp_path / sample_size_bias.FOLDER).iterdir():
        path.write_text("{")
    kept_simulation(tmp_path, 6, COUNTS, AnalysisConfig())
    assert len(calls) == 3  # a damaged file costs time, not the report


def test_equal_n_honours_the_sweep_s_settings(tmp_path: Path) -> None:
    rows = kept_simulation(tmp_path, 6, COUNTS, AnalysisConfig(equal_n_min=50))
    assert all(np.isnan(row.equal_n) == (row.n == 20) for row in rows)
    stronger = kept_simulation(
        tmp_path, 6, COUNTS, AnalysisConfig(equal_n_min=50, equal_n_shrinkage=0.9)
    )
    assert rows[-1].equal_n != stronger[-1].equal_n
