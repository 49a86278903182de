"""What runs the networks: one file for each way, behind one protocol, and the choice between them."""
