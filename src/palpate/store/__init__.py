"""What is kept: content keys and the append-only ledger."""
