"""The heat map of a selection counts what was selected, darkest where most is."""

from collections import Counter

import numpy as np

from ptl_sweep.ptl.selection_heatmap import count_selected, draw_selection


def test_the_heat_map_counts_pool_and_selection_over_altitude_and_radius() -> None:
    altitude = np.array([0, 8, 8, 8, np.nan])
    radius = np.array([0, 80, 80, 0, 5.0])
    counts = count_selected(altitude, radius, np.array([False, True, False, True, True]))
    assert counts is not None
    assert counts.altitude.tolist() == list(range(9))
    assert counts.radius.tolist() == list(range(0, 81, 10))
    assert dict(np.ndenumerate(counts.pool)) == Counter({(0, 0): 1, (7, 7): 2, (7, 0): 1}) | {
        place: 0 for place in np.ndindex(8, 8) if place not in {(0, 0), (7, 7), (7, 0)}
    }
    assert counts.selected[7, 7] == counts.selected[7, 0] == 1
    assert counts.selected.sum() == 2


def test_in_the_heat_map_the_fullest_cell_is_darkest_and_high_altitude_is_up() -> None:
    altitude, radius = np.array([0.0, 8, 8, 8]), np.array([0.0, 80, 80, 0])
    counts = count_selected(altitude, radius, np.ones(4, bool))
    assert counts is not None
    picture = draw_selection(counts).astype(int).sum(2)
    top_right, bottom_left, empty = picture[28, 375], picture[340, 64], picture[110, 110]
    assert top_right < bottom_left < empty == 3 * 255
