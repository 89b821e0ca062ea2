"""The process that files what is in a journal: reads, folds, judges, stores."""
