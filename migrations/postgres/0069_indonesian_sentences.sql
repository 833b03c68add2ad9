-- Sentences that the plugin of a service says out of its template's settings, in Indonesian by the English ones.
ALTER TABLE services ADD COLUMN indonesian_sentences JSONB NOT NULL DEFAULT '{}';
