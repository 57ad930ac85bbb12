"""The part of GitHub's REST API that the product uses, one file per resource; ``routes.py`` is the table of contents."""
