"""Rulebooks: the rules of a verdict as data, the presets of Shiplog, and rulebooks as TOML."""
