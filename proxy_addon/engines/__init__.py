"""Ways to work on many pieces: here, in several processes, or on other machines."""
