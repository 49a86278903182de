"""How long a new process takes until it helps: help, import, an open bundle, a first photo."""
