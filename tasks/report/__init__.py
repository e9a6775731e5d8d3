"""Stage `report`: the page of figures, and what is published at the end of a run."""
