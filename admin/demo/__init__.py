"""The whole story on the example consortium, told by running the commands a person would type.

`data/` holds the synthetic patients, `stage` runs and prints commands, `story` is the plot.
"""
