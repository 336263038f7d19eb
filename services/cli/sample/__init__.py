"""The sample: a panel, fifteen tools, and half a year of takes and votes made by a seeded program."""
