"""The local forge: as much of GitHub as the product uses, on this machine, with real git and tokens that really limit.

``forge.py`` is the way in; ``python -m infra.local.forge --help`` starts it as a program of its own.
"""
