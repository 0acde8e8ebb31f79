"""A pool that was written to files is read back as it was."""

from pathlib import Path

import numpy as np
import pytest

from ptl_sweep.config.schema import PoolConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.readers.archangel.export_pool import export_pool
from ptl_sweep.datasets.validation import DataError

MINIATURE = PoolConfig(name="miniature", reader="miniature", num_images=6)


def test_an_exported_pool_is_read_again_with_the_same_pixels_masks_and_boxes(
    tmp_path: Path,
) -> None:
    pool = registry.read_pool(MINIATURE)
    path = export_pool(pool, tmp_path / "pool")
    assert path == tmp_path / "pool" / "manifest.csv"
    again = registry.read_pool(
        PoolConfig(name="again", reader="archangel", root=str(tmp_path / "pool"))
    )
    assert len(again.records) == len(pool.records)
    for made, read in zip(pool.records, again.records, strict=True):
        assert read.image_id == f"images/{made.image_id}.png"
        assert np.array_equal(made.boxes, read.boxes)
        assert np.array_equal(made.pixels.read(), read.pixels.read())
        assert np.array_equal(made.pixels.read_masks(), read.pixels.read_masks())
        for name in ("altitude_m", "radius_m", "pitch_deg", "azimuth_deg", "pose"):
            assert made.attributes[name] == read.attributes[name]


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="is not an empty folder"):
        export_pool(registry.read_pool(MINIATURE), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
