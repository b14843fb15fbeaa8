"""Ways to read an answer: each file turns text into an Outcome."""
