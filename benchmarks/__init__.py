"""What things cost, as ratios to a peer in the same run, because ratios vary less than times on a noisy machine.

``make bench`` runs all benchmarks and prints a table; ``benchmarks/results.md`` has figures and the machine that they
came from.
"""
