"""Personal values: which members and headers hold them, and the tokens that take their place."""
