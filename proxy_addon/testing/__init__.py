"""Collector, recorder and verdict around a test: what the `run` command and the pytest plugin are made of."""
