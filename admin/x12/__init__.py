"""X12 at the edge: HIPAA's 5010 transactions read into the claims that FHIR gives, and written.

In: 837P (005010X222A1), 837I (005010X223A2), 276 (005010X212). Out: 835 (005010X221A1), 277
(005010X212), 999 (005010X231A1). `segments` takes bytes apart by the interchange's own delimiters,
`envelope` holds counts and control numbers, `guides` asks pyx12's implementation guides
(docs/adr/0015), `claims` builds FHIR Claims; `writer` makes interchanges, and nothing that does not
pass its own guide is sent. An error names places, never values.
Start with `intake`.
"""
