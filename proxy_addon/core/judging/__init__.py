"""Rules applied: to exchanges, sessions and files, as strictly as a policy says."""
