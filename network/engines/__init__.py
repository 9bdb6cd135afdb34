"""Engines start, stop, fill and show a whole network that a topology describes.

`engine.Engine` is what the command line knows. `embedded` runs our own nodes on this machine;
everything it does to them after their start goes over Fabric's own protocols, as it would to a
peer or an orderer of Fabric. Start with `choice.open_engine`.
"""
