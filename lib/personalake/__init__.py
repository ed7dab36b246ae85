"""Build a Persona Hub in a lakehouse: personas from a web corpus, and the synthetic data that they write."""

__version__ = "0.1.0"
