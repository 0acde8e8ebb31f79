"""Detections of any detector, trained anywhere, measured as a sweep measures its own."""
