-- +goose Up
-- Why a workflow was changed: what its editor said, kept with the version. The transaction
-- that changes it says it by a setting, as it says who acts (00012_audit.sql).

alter table rowbell.workflow_version add column comment text;
-- Not with the column: rows that are there would get what is true of this transaction. It is
-- cut and not refused: a long reason is no reason to refuse the change.
alter table rowbell.workflow_version alter column comment
	set default nullif(left(btrim(current_setting('rowbell.comment', true), E' \t\r\n'), 1000), '');
comment on column rowbell.workflow_version.comment is 'What changed, and why, as who changed it put it: rowbell.comment of that transaction, at most 1000 characters; null if nothing was said';

-- Which workflows have or had a trigger on a table: of very many versions, for who asks why a
-- change set nothing off.
create index workflow_version_tables on rowbell.workflow_version using gin ((document -> 'triggers') jsonb_path_ops);
