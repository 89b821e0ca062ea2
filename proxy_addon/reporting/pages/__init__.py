"""HTML pages: each renders one value with a template and contains its assets."""
