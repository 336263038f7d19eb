"""The processes of Shiplog: API, workers and command line, and the code they share."""
