"""The stages of the fault tests: a gateway as a process before a server that does as it is told."""

from tests.faults.conftest import fault_certificates, fresh_stages, kept_stages, stage, stages

__all__ = ["fault_certificates", "fresh_stages", "kept_stages", "stage", "stages"]
