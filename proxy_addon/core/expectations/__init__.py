"""Whether a player reports a playback as it once did: two sessions compared as tracking, not as traffic."""
