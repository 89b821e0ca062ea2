"""HTML pages: each renders one value with a template; assets are put into the page."""
