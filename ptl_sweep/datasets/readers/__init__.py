"""One data set a file: its official layout, read into records."""
