"""What things cost, as ratios to a peer measured in the same run: machines are noisy, ratios are less so.

``make bench`` runs all of it and prints a table; ``benchmarks/results.md`` has figures with the machine they came from.
"""
