"""Records off the chain: sealed for their recipients, stored, released and fetched.

`keywrap` gives a data key to a recipient, `header` says who sealed what for whom, `sealing` streams
the content (`chunks` cuts it, `pipes` joins two streams), `rewrapping` changes who opens it,
`store` keeps sealed files by URL; `service`, `custodian`, `release` and `fetch` are the exchange
between organisations, `trust` whom it believes. The ledger only ever sees commitments and digests
of what lives here.
"""
