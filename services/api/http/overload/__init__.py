"""Limits of one API process: connections, bodies, bulk requests, and the rate of each client."""
