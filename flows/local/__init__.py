"""`ato up`: servers, workers and deployments on this machine."""
