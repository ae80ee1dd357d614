"""The model that MLflow serves, and MLflow's server behind a gate with limits: no torch here."""
