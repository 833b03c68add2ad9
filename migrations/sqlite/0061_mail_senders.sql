-- Address that the mail of a message came from, in lower case, `unknown` when it named none: whoever has the mail with the
-- ticket's address can answer it.
ALTER TABLE ticket_messages ADD COLUMN mail_from TEXT;
