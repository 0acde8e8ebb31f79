"""Initial weights of a detector: which file they are, and how it is read into a network."""
