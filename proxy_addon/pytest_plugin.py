"""The pytest plugin. Importing it costs nothing: what its fixtures need is imported when they are used."""
