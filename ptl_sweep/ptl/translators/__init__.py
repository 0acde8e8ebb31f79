"""Translators of person crops, virtual to real: one file each, named as `translator.method`."""

from ptl_sweep.config.choices import find_choice
from ptl_sweep.config.schema import TranslatorConfig
from ptl_sweep.ptl.translators.base import Translator


def find_translator(method: str) -> type[Translator]:
    """The class that `translator.method` names. Raises: ConfigError."""
    found: type[Translator] = find_choice(__name__, "translator.method", method, Translator)
    return found


def translator_of(config: TranslatorConfig, iteration: int) -> Translator:
    """The translator of PTL iteration 1, 2, ... Raises: ConfigError."""
    return find_translator(config.method).of(config, iteration)
