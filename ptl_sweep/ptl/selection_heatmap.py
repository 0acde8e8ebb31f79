"""What a PTL iteration selected, against its pool, over altitude and radius: counts as a picture.

Drawn without matplotlib, which a worker need not load.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw

BINS = 8  # per axis
CELL = 40  # pixels
LEFT, TOP, BOTTOM, GAP = 60, 24, 40, 20  # margins and the space between both panels, pixels
FULL = np.array([33, 102, 172])  # colour of the fullest cell of a panel; empty ones are white
INK, PAPER, LINES = (0, 0, 0), (255, 255, 255), (200, 200, 200)


class SelectionCounts(NamedTuple):
    """Images per bin; row: altitude, rising; column: radius, rising."""

    pool: Int[ndarray, "a r"]  # V_t, the selected ones included
    selected: Int[ndarray, "a r"]
    altitude: Float[ndarray, " a1"]  # edges, metres
    radius: Float[ndarray, " r1"]  # edges, metres


def count_selected(
    altitude: Float[ndarray, " p"], radius: Float[ndarray, " p"], selected: Bool[ndarray, " p"]
) -> SelectionCounts | None:
    """Counts over 8 x 8 bins that span the pool; None without an image whose place is known."""
    known = np.isfinite(altitude) & np.isfinite(radius)
    if not known.any():
        return None
    edges = tuple(np.histogram_bin_edges(v[known], BINS) for v in (altitude, radius))
    pool, chosen = (
        np.histogram2d(altitude[rows], radius[rows], bins=edges)[0].astype(np.int64)
        for rows in (known, known & selected)
    )
    return SelectionCounts(pool, chosen, *edges)


def draw_selection(counts: SelectionCounts) -> UInt8[ndarray, "h w 3"]:
    """Two panels, pool and selected, each coloured up to its own largest count."""
    side = BINS * CELL
    width = LEFT + 2 * side + GAP + LEFT // 2
    picture = Image.new("RGB", (width, TOP + side + BOTTOM), PAPER)
    draw = ImageDraw.Draw(picture)
    for index, (name, panel) in enumerate((("pool", counts.pool), ("selected", counts.selected))):
        left = LEFT + index * (side + GAP)
        draw.text((left, 6), f"{name}: {panel.sum()} images", fill=INK)
        _draw_cells(draw, panel, left)
        _draw_radius(draw, counts.radius, left)
    for row, metres in enumerate(counts.altitude[::2]):
        y = TOP + side - 2 * row * CELL
        draw.text((LEFT - 4, y), f"{metres:.3g}", fill=INK, anchor="rm")
    draw.text((4, 6), "altitude m", fill=INK)
    return np.asarray(picture)


def _draw_cells(draw: ImageDraw.ImageDraw, panel: Int[ndarray, "a r"], left: int) -> None:
    largest = max(1, int(panel.max()))
    for (row, column), count in np.ndenumerate(panel):
        x, y = left + column * CELL, TOP + (BINS - 1 - row) * CELL
        share = count / largest
        red, green, blue = (int(c) for c in 255 + share * (FULL - 255))
        draw.rectangle((x, y, x + CELL, y + CELL), fill=(red, green, blue), outline=LINES)
        if count:
            ink = PAPER if share > 0.5 else INK
            draw.text((x + CELL // 2, y + CELL // 2), str(count), fill=ink, anchor="mm")


def _draw_radius(draw: ImageDraw.ImageDraw, edges: Float[ndarray, " r1"], left: int) -> None:
    bottom = TOP + BINS * CELL
    for column, metres in enumerate(edges[:-1:2]):
        draw.text((left + 2 * column * CELL, bottom + 4), f"{metres:.3g}", fill=INK, anchor="mt")
    draw.text((left + BINS * CELL // 2, bottom + 24), "radius m", fill=INK, anchor="mt")
