"""A session as a picture: what happened when, worked out from its events."""
