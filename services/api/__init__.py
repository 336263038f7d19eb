"""The HTTP API and the site: one file per concept."""
