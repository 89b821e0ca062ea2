"""Replays as values: plans, changes to requests, comparison of answers, and runs."""
