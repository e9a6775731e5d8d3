"""Stage `operators`: operators fitted, scored and registered."""
