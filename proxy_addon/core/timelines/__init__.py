"""A session as a picture: when what was going on, from its events."""
