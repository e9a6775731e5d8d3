"""The report: the study's figures drawn from the warehouse's tables, and the page that holds them."""
