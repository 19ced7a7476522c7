"""`tidemark audit`: every number of the product counted again by other means, and compared."""
