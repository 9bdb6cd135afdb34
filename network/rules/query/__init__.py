"""Rich queries as CouchDB answers them: selectors, order, indexes, errors."""
