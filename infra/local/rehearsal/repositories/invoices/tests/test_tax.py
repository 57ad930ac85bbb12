import unittest

from invoices.tax import add_tax


class TaxTest(unittest.TestCase):
    def test_rounds_half_up(self):
        self.assertEqual(add_tax(1_050, 19), 1_250)


if __name__ == "__main__":
    unittest.main()
