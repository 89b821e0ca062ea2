"""Files that users write: changes, sessions and settings."""
