"""What errors cost and whom detectors miss: sentences and tables of their section."""
