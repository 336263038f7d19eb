"""The engine: folds the SELECT of a projection into its table exactly once, and handles events it cannot fold."""
