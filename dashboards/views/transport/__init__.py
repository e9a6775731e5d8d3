"""The transport map."""
