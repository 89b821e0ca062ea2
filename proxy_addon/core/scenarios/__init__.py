"""Scenarios that a player is certified by: what they must contain, and whether sessions do."""
