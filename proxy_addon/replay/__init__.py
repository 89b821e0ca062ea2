"""The async edge: carry out a plan against a target."""
