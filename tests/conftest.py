"""What holds for every test. Nothing depends on how fast a machine is: hypothesis sets no deadline per example."""

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
