"""A pool that is composed of cut-outs of persons on backgrounds, image by image when it is read."""

from ptl_sweep.datasets.cutouts.pool import ComposedImage, fingerprint_cutouts, read_cutouts

__all__ = ["ComposedImage", "fingerprint_cutouts", "read_cutouts"]
