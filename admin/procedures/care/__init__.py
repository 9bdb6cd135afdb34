"""Patients' consents and records, and whose keys open them."""
