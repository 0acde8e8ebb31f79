"""Data sets: readers, the validator they share, subsets, and the embedded miniature world."""
