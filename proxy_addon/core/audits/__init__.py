"""What reports will count: the order in which the back end takes events, and the metrics of a session."""
