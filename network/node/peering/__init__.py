"""What a peer has from others: blocks, their announcements, private data."""
