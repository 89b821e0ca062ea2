"""The async edge: carry out plans against a target."""
