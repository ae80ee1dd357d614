"""What a model was asked about lately, and whether that still resembles what it was made for; no torch here."""

# Answers that a log keeps unless told otherwise; here, where the command line finds it without loading more.
MAX_ROWS = 100_000
