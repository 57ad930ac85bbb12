"""What a rehearsal plays with: seed repositories with a real bug each, their issues, and the scripts that solve them."""
