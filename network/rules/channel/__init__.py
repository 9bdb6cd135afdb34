"""What a channel's members have agreed: its configuration, read, specified, changed."""
