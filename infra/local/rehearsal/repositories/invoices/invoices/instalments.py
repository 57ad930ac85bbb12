"""Payment in instalments."""


def instalments(total, count):
    """Split ``total`` cents into ``count`` instalments that differ by at most one cent.

    The larger instalments come first.
    """
    if count < 1:
        raise ValueError("count must be at least 1")
    share = total // count
    return [share] * count
