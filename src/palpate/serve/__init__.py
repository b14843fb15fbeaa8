"""Pages for a person at this machine: a server for 127.0.0.1 alone, and what it shows."""
