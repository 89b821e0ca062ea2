"""The whole loop, shown by real processes."""
