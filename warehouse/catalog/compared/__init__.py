"""Any two features, operators, SAEs, collections, entities or graphs: their addresses, and the statements that compare them."""
