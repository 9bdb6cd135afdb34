"""Acts of auditors and privacy officers: read the trail, report it, anchor and prove access logs.

`reading` asks the ledger and makes a `Report`; `figures` counts it; `fhir`, `tables`, `page` and
`paper` write it as AuditEvents, CSV, HTML and PDF; `logs` keeps anchored access logs.
"""
