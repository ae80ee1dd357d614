"""Fetch one file, whole and verified, whatever interrupts it, from ``http``, ``https``, ``file`` and ``s3``."""
