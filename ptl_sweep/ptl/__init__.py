"""Progressive Transformation Learning: Gaussian, domain gap, selection, translation."""
