"""What a replay is, as values: plans, changes of requests, comparing answers, runs."""
