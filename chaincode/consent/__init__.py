"""What a patient allows, and to whom: directives, decisions and break-glass.

`model` holds the values and their wire form, `codes` the vocabularies, `compiled` and `rules` the
pure decision (start at `rules.evaluate`), `fhir` the way in from and out to FHIR, `access` what the
other contracts call inside a transaction, `contract` the transactions. No clinical content and no
identifier other than a random handle lives here.
"""
