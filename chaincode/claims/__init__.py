"""Claims: from submission through checks, adjudication and payment to appeal.

What is public (`model`: handles, parties, status, codes, commitments, fingerprints) and what only
the parties see (`details`: lines, amounts, coverages) are two modules, so that one sees at once
where a field goes. `states` is the state machine, `checks` the ordered checks, `adjudication` the
arithmetic of a decision, `accumulators` what a benefit period has left, `rules` the rest of the
law, `fhir` the mapping from FHIR; `contract` has the transactions, with `statements` (what a payer
registers) and `queries`; `coordination` is about later payers. Start with `states`.
"""
