"""Where events go: each sink is a callable that takes one `Event`."""
