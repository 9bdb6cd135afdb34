"""The verdict on every transaction of a block, in Fabric's order, and what it changes."""
