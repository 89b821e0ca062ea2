"""sessiontape: everything but the database. Importing it is free."""

__version__ = "0.1.0"
