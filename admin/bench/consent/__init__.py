"""What consent costs: decisions a second, evaluations through a network, growth with the ledger.

`samples` makes directives and whole populations, `decisions` measures the pure function, `growth`
fills a network's ledger and asks it. `admin.bench.load` makes the load.
"""
