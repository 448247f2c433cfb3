"""Attribution graphs of weight subcomponents: made, verified, intervened on, shown; and what transcoders do beside them."""
