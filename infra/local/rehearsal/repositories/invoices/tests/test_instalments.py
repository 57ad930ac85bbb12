import unittest

from invoices.instalments import instalments


class InstalmentsTest(unittest.TestCase):
    def test_even_split(self):
        self.assertEqual(instalments(3_000, 3), [1_000, 1_000, 1_000])

    def test_sum_is_the_total(self):
        self.assertEqual(sum(instalments(10_000, 3)), 10_000)

    def test_no_instalments(self):
        with self.assertRaises(ValueError):
            instalments(10_000, 0)


if __name__ == "__main__":
    unittest.main()
