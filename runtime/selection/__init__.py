"""Which engine runs here: candidates, keys, golden check, quarantine."""
