"""Files that users write, and what they mean."""
