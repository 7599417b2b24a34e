-- +goose Up
-- A draft lies beside the live version in workflow_definition.draft, as a JSON object of
-- the shape of a version's document. What is secret in it must not stand there until
-- somebody activates it: it moves into table secret with the statement that writes it.

-- +goose StatementBegin
create function rowbell.move_draft_secrets() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
	-- In triggers and conditions such keys are columns, and stay.
	new.draft := rowbell.move_secrets(new.draft - '{triggers,conditions}'::text[], new.tenant_id, new.id, null)
		|| (select coalesce(jsonb_object_agg(e.key, e.value), '{}') from jsonb_each(new.draft) e where e.key in ('triggers', 'conditions'));
	return new;
end
$$;
-- +goose StatementEnd
comment on function rowbell.move_draft_secrets() is 'Trigger: moves strings under keys secret, password and token of a draft into table secret, and leaves {"ref": name}';
revoke execute on function rowbell.move_draft_secrets() from public;

create trigger move_draft_secrets before insert or update of draft on rowbell.workflow_definition
	for each row when (jsonb_typeof(new.draft) = 'object' and new.draft::text ~* '"(secret|password|token)": "')
	execute function rowbell.move_draft_secrets();
alter table rowbell.workflow_definition enable always trigger move_draft_secrets;

update rowbell.workflow_definition set draft = draft
where jsonb_typeof(draft) = 'object' and draft::text ~* '"(secret|password|token)": "';

comment on column rowbell.workflow_definition.draft is 'JSON object: changes that are not published yet, as a document of workflow_version without id, tenant_id and status, with base, the version they were made from, and by, who made them; no part of any version. A string under a key secret, password or token moves to table secret';
comment on column rowbell.secret.workflow_id is 'The workflow that it, or whose draft it was moved from; null if it was written here';
comment on column rowbell.secret.action_id is 'The action that it was moved from; null if it was written here, or moved from a draft';
