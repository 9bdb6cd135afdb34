"""Events for people and programs: `catalogue` tells them, `following` reads them off the ledger
with a checkpoint, `deliveries` and `forwarding` bring them to a webhook.

Events hold handles and codes, never health information. Start with `following.follow`.
"""
