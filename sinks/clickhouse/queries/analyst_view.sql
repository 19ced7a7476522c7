-- One view for the analyst's role. It runs with the rights of whoever migrates, so that nobody needs any on the base tables; CREATE OR REPLACE VIEW
-- forgets that, and the view is then refused to analysts until `tidemark migrate --analyst` is run again.

ALTER TABLE {database}.{view} MODIFY SQL SECURITY DEFINER DEFINER = CURRENT_USER;

GRANT SELECT ON {database}.{view} TO tidemark_analyst;
