"""FHIR at the edge: resources read from files, validated, and reduced to what the ledger may see.

Nothing here reaches the ledger itself; the pure mappings to the contracts' values are in
`chaincode.consent.fhir` and `chaincode.claims.fhir`.
"""
