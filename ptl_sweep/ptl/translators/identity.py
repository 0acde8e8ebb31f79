"""Virtual images are added as they are: the control without translation (ours)."""

from collections.abc import Sequence
from dataclasses import dataclass

from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.ptl.translators.base import FitRun, FittedTranslator, Translator, Untranslated


@dataclass(frozen=True, kw_only=True)
class Identity(Translator):
    """Leaves every pixel as it is."""

    def fit_records(
        self,
        chosen: Sequence[ImageRecord],
        training: Sequence[ImageRecord],
        run: FitRun,
        cache: ImageCache,
    ) -> FittedTranslator:
        """Learn nothing."""
        del chosen, training, run, cache
        return Untranslated()
