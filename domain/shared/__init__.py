"""Types, log positions, points in time and base errors, shared by the whole domain."""
