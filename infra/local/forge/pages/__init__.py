"""Plain pages for people: no scripts, nothing but what the forge knows."""
