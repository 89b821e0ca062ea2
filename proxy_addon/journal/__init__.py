"""What recorders have seen and no store has yet: segment files that one process appends to and another reads."""
