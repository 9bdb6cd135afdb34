"""Small chaincodes that are no part of the house: for measuring and for learning."""
