"""Detectors with a feature per detection: training, inference, matching, average precision."""
