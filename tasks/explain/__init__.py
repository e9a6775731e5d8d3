"""Stage `explain`: published explanations of the selected features."""
