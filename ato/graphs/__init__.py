"""Attribution graphs: which features of a prompt make which others, by a locally linear model whose sums are exact."""
