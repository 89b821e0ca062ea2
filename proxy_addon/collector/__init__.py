"""A stand-in for the back end, for tests, demos and fixtures."""
