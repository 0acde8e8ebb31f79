"""PTL's baseline "naive merge": virtual images as they are, all at once, beside the real ones."""

from dataclasses import dataclass
from typing import ClassVar

from ptl_sweep.ptl.methods.naive_transform import NaiveTransform


@dataclass(frozen=True, kw_only=True)
class NaiveMerge(NaiveTransform):
    """Adds in one step as many virtual images as PTL adds in all; `translator` is not asked."""

    translates: ClassVar[bool] = False
