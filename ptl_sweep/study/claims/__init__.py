"""What the study may claim: each kind of statement as a pure function from numbers to a verdict."""
