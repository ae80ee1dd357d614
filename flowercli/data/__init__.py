"""Photographs on disk: finding, checking, splitting and loading them."""
