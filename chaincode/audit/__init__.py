"""Audit: who asked for what, why, how it was decided and when it was released.

`trail` is what the other contracts write through, `model` the values, `rules` the law (accounting
of disclosures, exclusions, log continuity), `contract` the transactions. Nothing here decides about
access. Start with `trail.record`.
"""
