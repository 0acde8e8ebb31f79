"""The sentences that claim something: each says what its rows of claims.csv say, and no more.

Found: both the interval over seeds excludes zero and the exact test agrees. None: enough seeds, no
evidence. Open: too few seeds for a verdict, whatever their numbers look like.
"""
