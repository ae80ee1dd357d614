def evaluate() -> None:
    """x"""
