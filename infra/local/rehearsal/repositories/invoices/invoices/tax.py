"""Value added tax."""


def add_tax(net, percent):
    """Gross amount in cents, rounded half up as the tax office wants it."""
    return net + (net * percent + 50) // 100
