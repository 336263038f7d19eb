"""Rulebooks: the rules of a verdict as data, those that come with Shiplog, and their TOML."""
