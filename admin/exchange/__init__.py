"""Records off the chain: sealed for their recipients, stored, released and fetched.

`keywrap` gives a data key to a recipient, `header` says who sealed what for whom, `sealing` streams
the content, `store` keeps sealed files by URL; `service`, `release` and `fetch` are the exchange
between organisations. The ledger only ever sees commitments and digests of what lives here.
"""
