"""`vidfer report`: results as one page that opens anywhere, without a network."""
