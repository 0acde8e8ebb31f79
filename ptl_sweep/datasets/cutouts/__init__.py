"""A pool that is composed of cut-outs of persons on backgrounds, image by image when it is read."""

from ptl_sweep.datasets.cutouts.pool import (
    ComposedImage,
    background_contents,
    fingerprint_cutouts,
    read_cutouts,
)

__all__ = ["ComposedImage", "background_contents", "fingerprint_cutouts", "read_cutouts"]
