-- Transactions get the number after the last one with the row itself.
DELETE FROM sequences WHERE name = 'transaction';
