-- Price of the customer's own term from the move on; absent where its months cost their price. Where it is absent and the
-- customer has one, the term keeps its share of the monthly price: so have moves of servers that do not know it.
ALTER TABLE price_moves ADD COLUMN term_price BIGINT CHECK (term_price >= 0);
