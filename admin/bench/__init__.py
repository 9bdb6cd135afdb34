"""Measuring chaincodes through a Fabric gateway: load, statistics, comparison."""
