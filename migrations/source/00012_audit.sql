-- +goose Up
-- The audit log: who did what, before and after, and from where.
--
-- The command line and the API say by settings of their transaction who asks and from
-- where (rowbell.actor, rowbell.via, rowbell.address, rowbell.request_id). Whoever works
-- by SQL can set these too: they are what was said. db_user is what the server knows.
--
-- Triggers write what is done to templates, secrets, members and captured tables, so that
-- it makes no difference who does it. Edits of workflows are in workflow_version, whoever
-- makes them; what the command line and the API do to them has a row here as well, of the
-- same transaction: its at is the version's created_at.

alter table rowbell.audit_log add column before jsonb;
alter table rowbell.audit_log add column after jsonb;
alter table rowbell.audit_log add column via text;
alter table rowbell.audit_log add column address text;
alter table rowbell.audit_log add column request_id text;
-- Not with the columns: rows that are there would get what is true of this transaction.
alter table rowbell.audit_log alter column via set default coalesce(nullif(current_setting('rowbell.via', true), ''), 'sql');
alter table rowbell.audit_log alter column address set default coalesce(nullif(current_setting('rowbell.address', true), ''), host(inet_client_addr()));
alter table rowbell.audit_log alter column request_id set default nullif(current_setting('rowbell.request_id', true), '');
comment on table rowbell.audit_log is 'Who did what: rows are added, and neither changed nor deleted but by rowbell.trim_audit and when somebody is erased. Edits of workflows by SQL are in workflow_version only; rowbell audit list has both';
comment on column rowbell.audit_log.before is 'JSON: what it was; secrets are masked. Of a workflow, its documents are in workflow_version';
comment on column rowbell.audit_log.after is 'JSON: what it is from then on; secrets are masked';
comment on column rowbell.audit_log.via is 'How: cli, api, worker or sql; null in rows from before this column was there';
comment on column rowbell.audit_log.address is 'From where: the client''s address as the API saw it, else that of the database''s client; null through a local socket';
comment on column rowbell.audit_log.request_id is 'The API''s request';

create index audit_log_actor on rowbell.audit_log (actor, at);
create index audit_log_db_user on rowbell.audit_log (db_user, at);
create index audit_log_action on rowbell.audit_log (action, at);
-- The list has versions that nothing here tells of.
create index workflow_version_created_at on rowbell.workflow_version (created_at);
create index workflow_version_tenant_id on rowbell.workflow_version (tenant_id, created_at);

-- +goose StatementBegin
create function rowbell.may_erase() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select current_setting('rowbell.erasing', true) is not distinct from pg_current_xact_id_if_assigned()::text $$;
-- +goose StatementEnd
comment on function rowbell.may_erase() is 'Whether this transaction was begun by rowbell.begin_erasing. It keeps from mistakes; what keeps from malice are the grants';

-- +goose StatementBegin
create function rowbell.begin_erasing() returns void
language sql
set search_path = pg_catalog, pg_temp
as $$ select set_config('rowbell.erasing', pg_current_xact_id()::text, true) $$;
-- +goose StatementEnd
comment on function rowbell.begin_erasing() is 'Lets this transaction change and delete rows of workflow_version and audit_log, with the rights of whoever calls it';

-- +goose StatementBegin
create function rowbell.keep_audit() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if tg_op <> 'TRUNCATE' and rowbell.may_erase() then
		if tg_op = 'DELETE' then
			return old;
		end if;
		return new;
	end if;
	raise exception using
		errcode = 'object_not_in_prerequisite_state',
		message = format('%s of rowbell.audit_log refused: what was done stays written', tg_op),
		hint = 'Old rows go by ROWBELL_AUDIT_RETENTION; those of a tenant by rowbell tenant delete, what names a person by rowbell erase person. To remove Rowbell altogether: rowbell uninstall.';
end
$$;
-- +goose StatementEnd
comment on function rowbell.keep_audit() is 'Trigger: refuses UPDATE, DELETE and TRUNCATE of audit_log, to its owner too';
create trigger insert_only before update or delete on rowbell.audit_log
	for each row execute function rowbell.keep_audit();
create trigger insert_only_truncate before truncate on rowbell.audit_log
	for each statement execute function rowbell.keep_audit();
alter table rowbell.audit_log enable always trigger insert_only, enable always trigger insert_only_truncate;

-- Versions of a deleted tenant go as well, once no worker has them applied.
-- +goose StatementBegin
create or replace function rowbell.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if tg_op <> 'TRUNCATE' and tg_table_name = 'workflow_version' and rowbell.may_erase() then
		if tg_op = 'DELETE' then
			return old;
		end if;
		return new;
	end if;
	raise exception using
		errcode = 'object_not_in_prerequisite_state',
		message = format('%s of rowbell.%s refused: the table is insert-only, because workers read its rows again after a restart', tg_op, tg_table_name),
		hint = case tg_table_name
			when 'workflow_version' then 'Edit or delete the workflow in rowbell.workflow_definition: that writes a new version.'
			else 'Call rowbell.capture or rowbell.release: that writes a new row.'
		end || ' To remove Rowbell altogether: rowbell uninstall.';
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function rowbell.trim_audit(days integer, most integer default 5000) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
	gone integer;
begin
	if days is null or days < 30 then
		raise exception using errcode = 'invalid_parameter_value',
			message = format('the audit log is kept for 30 days at least, not %s', coalesce(days::text, 'null')),
			hint = 'Set ROWBELL_AUDIT_RETENTION to 30 or more, or to forever.';
	end if;
	perform rowbell.begin_erasing();
	delete from rowbell.audit_log where id in (
		select id from rowbell.audit_log where at < now() - make_interval(days => trim_audit.days) order by at limit least(greatest(most, 1), 100000));
	get diagnostics gone = row_count;
	perform set_config('rowbell.erasing', '', true);
	return gone;
end
$$;
-- +goose StatementEnd
comment on function rowbell.trim_audit(integer, integer) is 'Deletes at most so many rows of audit_log that are older than so many days, 30 at least, and returns how many';

-- +goose StatementBegin
create function rowbell.audit_change() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
	kind constant text := tg_argv[0];
	row_now constant jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
	was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
	is_now jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
	hidden text[] := '{id,created_by,created_at,updated_at,tenant_id}';
	what text := case tg_op when 'DELETE' then 'delete' else 'set' end;
	object text;
	detail jsonb := '{}';
begin
	case kind
	when 'template' then
		object := row_now ->> 'name';
		detail := jsonb_build_object('locale', row_now ->> 'locale');
	when 'secret' then
		-- What it is stands nowhere here, sealed or not.
		object := row_now ->> 'name';
		hidden := hidden || '{plain,sealed,key_id,sealed_at}';
		if tg_op = 'UPDATE' and exists (select from rowbell.audit_log a
			where a.object_type = 'secret' and a.object_id = object and a.at = now() and a.db_user = session_user and a.action = 'secret.rotate')
		then
			return null; -- whoever rotates it has said so
		end if;
	when 'sql_member' then
		object := row_now ->> 'role_name';
	when 'table' then
		object := row_now ->> 'label';
		hidden := hidden || '{db_user,from_xid,released}';
		select to_jsonb(t) into was from rowbell.captured_table t
		where t.schema_name = new.schema_name and t.table_name = new.table_name and t.version < new.version order by t.version desc limit 1;
		what := case when new.released then 'release' when was is null or (was ->> 'released')::boolean then 'capture' else 'change' end;
		if what = 'capture' then
			was := null;
		elsif what = 'release' then
			is_now := null;
		elsif was - 'version'::text - hidden = is_now - 'version'::text - hidden then
			return null; -- the same again, from another transaction on: after a resync
		end if;
	end case;
	if tg_op = 'UPDATE' and kind <> 'secret' and was - hidden = is_now - hidden then
		return null;
	end if;
	insert into rowbell.audit_log (tenant_id, action, object_type, object_id, before, after, detail)
	values (row_now ->> 'tenant_id', kind || '.' || what, kind, object, was - hidden, is_now - hidden, detail);
	return null;
end
$$;
-- +goose StatementEnd
comment on function rowbell.audit_change() is 'Trigger: writes into audit_log what became of a template, a secret, a member or a captured table';

create trigger audit after insert or update or delete on rowbell.template
	for each row execute function rowbell.audit_change('template');
create trigger audit after insert or delete on rowbell.secret
	for each row execute function rowbell.audit_change('secret');
-- Sealing one is no change of it.
create trigger audit_update after update on rowbell.secret
	for each row when (new.plain is not null and new.plain is distinct from old.plain or (new.tenant_id, new.name) is distinct from (old.tenant_id, old.name))
	execute function rowbell.audit_change('secret');
create trigger audit after insert or update or delete on rowbell.sql_member
	for each row execute function rowbell.audit_change('sql_member');
create trigger audit after insert on rowbell.captured_table
	for each row execute function rowbell.audit_change('table');
alter table rowbell.template enable always trigger audit;
alter table rowbell.secret enable always trigger audit, enable always trigger audit_update;
alter table rowbell.sql_member enable always trigger audit;
alter table rowbell.captured_table enable always trigger audit;

-- Triggers fire without EXECUTE; nobody is to put these on tables of their own. The others
-- are the owner's, and trim_audit is the worker's too (grants.sql).
revoke execute on function rowbell.begin_erasing() from public;
revoke execute on function rowbell.trim_audit(integer, integer) from public;
revoke execute on function rowbell.audit_change() from public;
revoke execute on function rowbell.keep_audit() from public;
