"""Rate limits: the algorithm, and its store in Redis or in this process."""
