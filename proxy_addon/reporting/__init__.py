"""Turn values into text that people and machines read."""
