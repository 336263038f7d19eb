"""What answers and pages show: cards, tallies, comparisons, flips, rankings, trials."""
