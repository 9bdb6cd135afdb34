"""Journeys of users on a whole network, by the commands they would type."""
