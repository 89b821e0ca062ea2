"""Applies the rules to exchanges, sessions and files, under a policy."""
