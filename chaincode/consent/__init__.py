"""What a patient allows, and to whom: directives, decisions and break-glass.

`model` holds the values and their wire form, `messages` what transactions take and give, `codes`
the vocabularies, `compiled`, `rules` and `rulings` the pure decision (start at `rules.evaluate`),
`fhir` the way in from FHIR and `export` the way out, `access` what the other contracts call inside
a transaction, `contract` the transactions. No clinical content and no identifier other than a
random handle lives here.
"""
