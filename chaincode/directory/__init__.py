"""Who is who: organisations, patients' handles, delegations, encryption keys, consortium policy.

`model` holds the values, `rules` what may change, `registry` what the other contracts read inside a
transaction, `governance` the majority that guards the consortium's own keys, `contract` the
transactions. The link from a handle to a person stays at the custodian.
"""
