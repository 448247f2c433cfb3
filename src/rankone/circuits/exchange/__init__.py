"""A graph for others to look at: a page of its own, and files for circuit-tracer's viewer and Neuronpedia."""
