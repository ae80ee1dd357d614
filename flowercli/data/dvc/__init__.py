"""Datasets and models under version control by DVC, in the user's own repository, with the bytes in S3."""
