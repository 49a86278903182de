"""What ours races against: the loops that others would write around the same networks, one file each."""
