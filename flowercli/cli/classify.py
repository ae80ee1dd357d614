def classify() -> None:
    """x"""
