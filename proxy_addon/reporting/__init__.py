"""From values to what people and machines read."""
