"""Benchmarks of Shiplog, the machine's limits and peers. Compare ratios: rates depend on the machine."""
