"""VisDrone: pictures and video sequences, whose rows are the same."""
