"""What this machine and this environment can do, what is wrong with them, and what to type about it."""
