"""What every part of the domain shares: types, log positions, points in time, and the base of errors."""
