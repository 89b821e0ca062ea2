"""What all our processes share: ending on signals, writing lines without waiting for a reader, and logging."""
