"""The integrity campaign: many random faults between outside programs and the gateway; see tests/README.md."""
