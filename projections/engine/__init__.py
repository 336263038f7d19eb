"""The engine: a projection's SELECT folded into its table, exactly once, and what happens when that fails."""
