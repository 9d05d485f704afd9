"""netwright: a self-hosted REST service that trains networks and n-gram models."""

__version__ = "0.1.0"
